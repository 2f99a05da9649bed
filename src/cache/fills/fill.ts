import type { Hash } from 'node:crypto';
import { addAbortSignal } from 'node:stream';
import { seconds, ms, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { completes, hasherFor, type Digest } from '../../oci/digest.ts';
import { hashFile, type BlobFiles, type OpenFile } from '../../store/blob-files.ts';
import { SourceError, type BlobSource, type OpenedBody } from './blob-source.ts';
import type { FillFailure, FillProgress, FillState } from '../keeper.ts';
import { PartialWriter } from './partial-writer.ts';

/** Held back until the digest is known, so that a wrong body is never served whole. */
const HOLD_BACK_BYTES = 64 * 1024;

export interface FillTimes {
  /** A fill that gets no further for so long gives up. */
  readonly patience: Milliseconds;
  readonly firstPause: Milliseconds;
  readonly longestPause: Milliseconds;
}

export const FILL_TIMES: FillTimes = { patience: seconds(60), firstPause: ms(100), longestPause: seconds(5) };

export interface FillParts {
  readonly files: BlobFiles;
  readonly clock: Clock;
  readonly random: () => number;
  readonly times: FillTimes;
  /** Makes room for `size` bytes; false when they can never fit. */
  readonly reserve: (size: number) => Promise<boolean>;
  readonly events: FillEvents;
}

export interface FillEvents {
  progress(progress: FillProgress): void;
  received(bytes: number): void;
  resumed(digest: Digest, offset: number, cause: unknown): void;
  /** The disk refused; the fill went on or was detached. */
  refused(digest: Digest, error: unknown): void;
}

/** Thrown inside a fill when the body is wrong; the followers see `corrupt`. */
class WrongBody extends Error {
  override readonly name = 'WrongBody';
}

/**
 * One transfer of one digest into one partial file. It belongs to the edge: readers come and go without a trace here.
 * Lifetime: `opened` settles when the size is known, `ended` resolves when nothing will change any more; in between
 * every change is told through `events.progress`.
 */
export class Fill {
  readonly id: number;
  readonly digest: Digest;
  /** Resolves to the blob's size as soon as a source has answered. @throws {SourceError} when none can. */
  readonly opened: Promise<number>;
  /** Resolves once, also after a failure; `committed` says whether the blob is under `blobs/`. */
  readonly ended: Promise<{ readonly state: FillState; readonly committed: boolean; readonly size: number }>;
  readonly #source: BlobSource;
  readonly #parts: FillParts;
  readonly #stop = new AbortController();
  #etag: string | undefined;
  #size = 0;
  #writer: PartialWriter | undefined;
  /** Of what an earlier run has left. */
  #rehashed: Promise<Hash> | undefined;
  #state: FillState = { kind: 'running' };
  #hashAtDetach: Hash | undefined;
  #triesForRoom = 0;

  constructor(id: number, digest: Digest, source: BlobSource, etag: string | undefined, parts: FillParts) {
    this.id = id;
    this.digest = digest;
    this.#source = source;
    this.#etag = etag;
    this.#parts = parts;
    const opened = Promise.withResolvers<number>();
    this.opened = opened.promise;
    this.opened.catch(() => undefined);
    this.ended = this.#run(opened).then((committed) => ({ state: this.#state, committed, size: this.#size }));
  }

  get source(): BlobSource {
    return this.#source;
  }

  get etag(): string | undefined {
    return this.#etag;
  }

  get progress(): FillProgress {
    return { fillId: this.id, size: this.#size, available: this.#available(), state: this.#state };
  }

  /** After `detached`: the hash of the bytes before the detachment, for a bypass that goes on from there. */
  hashAtDetach(): Hash | undefined {
    return this.#hashAtDetach?.copy();
  }

  /** Ends the transfer and keeps the partial file for the next run. */
  stop(): void {
    this.#stop.abort();
  }

  #available(): number {
    const position = this.#writer?.position ?? 0;
    if (this.#state.kind === 'done') return this.#size;
    if (this.#state.kind === 'detached') return this.#state.at;
    return Math.max(0, Math.min(position, this.#size - HOLD_BACK_BYTES));
  }

  async #run(opened: PromiseWithResolvers<number>): Promise<boolean> {
    let file: OpenFile | undefined;
    try {
      file = await this.#openPartial();
      await this.#fetch(file, opened);
      if (this.#state.kind !== 'running') return false;
      return await this.#verifyAndCommit(file);
    } catch (error) {
      opened.reject(error);
      await this.#fail(error, file?.size ?? 0);
      return false;
    } finally {
      // A file must not be closed under a read.
      await Promise.allSettled([this.#rehashed]);
      await file?.close();
    }
  }

  /** A disk that refuses even this is no reason to refuse the pull: the fill is detached before its first byte. */
  async #openPartial(): Promise<OpenFile | undefined> {
    try {
      return await this.#parts.files.openPartialForWriting(this.digest);
    } catch (error) {
      this.#parts.events.refused(this.digest, error);
      return undefined;
    }
  }

  async #fetch(file: OpenFile | undefined, opened: PromiseWithResolvers<number>): Promise<void> {
    const kept = file?.size ?? 0;
    if (file !== undefined) this.#rehashed = hashFile(file, kept, this.digest);
    this.#rehashed?.catch(() => undefined);
    let body = await this.#source.open(kept, this.#etag, this.#stop.signal);
    body = await this.#agreeOnSize(body, kept);
    const roomFor = file !== undefined && (await this.#parts.reserve(this.#size));
    const writer = roomFor ? this.#startWriter(file, await this.#rehashed, kept) : undefined;
    this.#writer = writer;
    if (writer === undefined) this.#detach(0, hasherFor(this.digest));
    opened.resolve(this.#size);
    if (writer === undefined) {
      body.body.destroy();
      return;
    }
    if (kept > 0) this.#parts.events.resumed(this.digest, kept, 'an earlier run');
    this.#tell();
    await this.#transfer(writer, body);
  }

  /** The size is what the first answer says. A partial file longer than that cannot be a part of this blob. */
  async #agreeOnSize(body: OpenedBody, kept: number): Promise<OpenedBody> {
    this.#size = body.size;
    this.#etag = body.etag ?? this.#etag;
    // Of nothing no last piece can be held back: a client would have all of it before it is known to be wrong.
    if (body.size === 0 && !completes(hasherFor(this.digest), this.digest)) {
      body.body.destroy();
      throw new SourceError('unavailable', 'the upstream sent an empty body for a blob that is not empty');
    }
    if (kept <= body.size) return body;
    body.body.destroy();
    await this.#parts.files.removePartial(this.digest);
    throw new SourceError('unavailable', 'the partial file was longer than the blob; it was dropped');
  }

  #startWriter(file: OpenFile, hash: Hash | undefined, position: number): PartialWriter {
    return new PartialWriter(file, hash ?? hasherFor(this.digest), position, {
      written: () => this.#tell(),
      refused: async (error) => {
        this.#parts.events.refused(this.digest, error);
        return (error.code === 'ENOSPC' || error.code === 'EDQUOT') && (await this.#roomAgain());
      },
    });
  }

  /** Bounded: a disk that stays full after evictions is full for reasons outside the cache. */
  async #roomAgain(): Promise<boolean> {
    this.#triesForRoom += 1;
    return this.#triesForRoom <= 3 && (await this.#parts.reserve(this.#size));
  }

  /** Reads the body to its end, resuming after each break, until the size is reached. */
  async #transfer(writer: PartialWriter, first: OpenedBody): Promise<void> {
    const { clock, times, events, random } = this.#parts;
    let body: OpenedBody | undefined = first;
    let pause = times.firstPause;
    let progressAt = clock.monotonic();
    while (true) {
      const before = writer.received;
      let broken: unknown = 'the body ended early';
      try {
        body ??= await this.#reopen(writer.position);
        await this.#drain(writer, body);
      } catch (error) {
        if (error instanceof WrongBody || isRefusal(error)) throw error;
        broken = error;
      }
      await this.#settle(writer);
      if (this.#state.kind !== 'running' || writer.position === this.#size) return;
      this.#stop.signal.throwIfAborted();
      if (writer.received > before) {
        pause = times.firstPause;
        progressAt = clock.monotonic();
      } else if (clock.monotonic() - progressAt > times.patience) {
        throw new Error('the upstream sent nothing more', { cause: broken });
      }
      body = undefined;
      await clock.sleep(ms(pause * (0.5 + random() / 2)), this.#stop.signal);
      pause = ms(Math.min(pause * 2, times.longestPause));
      events.resumed(this.digest, writer.position, broken);
    }
  }

  async #reopen(offset: number): Promise<OpenedBody> {
    const body = await this.#source.open(offset, this.#etag, this.#stop.signal);
    if (body.size === this.#size) return body;
    body.body.destroy();
    throw new WrongBody('the upstream changed the size of the blob');
  }

  async #drain(writer: PartialWriter, { body, first }: OpenedBody): Promise<void> {
    let skip = writer.position - first;
    addAbortSignal(this.#stop.signal, body);
    try {
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        this.#parts.events.received(chunk.byteLength);
        const fresh = skip > 0 ? chunk.subarray(skip) : chunk;
        skip -= chunk.byteLength - fresh.byteLength;
        if (fresh.byteLength === 0) continue;
        if (writer.received + fresh.byteLength > this.#size)
          throw new WrongBody('the body is longer than announced');
        const wait = writer.push(fresh);
        if (wait !== undefined) await wait;
      }
    } finally {
      body.destroy();
    }
  }

  /** Waits for the disk; when it refused for good, the fill is detached where the file ends. */
  async #settle(writer: PartialWriter): Promise<void> {
    try {
      await writer.flushed();
    } catch (error) {
      this.#parts.events.refused(this.digest, error);
      this.#detach(writer.position, writer.hash());
      await this.#dropPartial();
    }
  }

  #detach(at: number, hash: Hash): void {
    this.#hashAtDetach = hash;
    this.#state = { kind: 'detached', at };
    this.#tell();
  }

  async #verifyAndCommit(file: OpenFile | undefined): Promise<boolean> {
    if (file === undefined || this.#writer === undefined) return false;
    if (!completes(this.#writer.hash(), this.digest)) throw new WrongBody('the body has another digest');
    // The followers get their last piece now; they need not wait for the disk.
    this.#state = { kind: 'done' };
    this.#tell();
    try {
      await this.#parts.files.commit(this.digest, file);
      return true;
    } catch (error) {
      this.#parts.events.refused(this.digest, error);
      await this.#dropPartial();
      return false;
    }
  }

  async #fail(error: unknown, kept: number): Promise<void> {
    const reason: FillFailure = this.#stop.signal.aborted
      ? 'stopped'
      : error instanceof WrongBody
        ? 'corrupt'
        : 'interrupted';
    this.#state = { kind: 'failed', reason };
    if (reason === 'corrupt' || (this.#writer?.position ?? kept) === 0) await this.#dropPartial();
    this.#tell();
  }

  async #dropPartial(): Promise<void> {
    try {
      await this.#parts.files.removePartial(this.digest);
    } catch (error) {
      this.#parts.events.refused(this.digest, error);
    }
  }

  #tell(): void {
    this.#parts.events.progress(this.progress);
  }
}

/** The upstream said no, rather than nothing: asking again would not help. */
function isRefusal(error: unknown): boolean {
  return error instanceof SourceError && error.kind === 'unknown';
}
