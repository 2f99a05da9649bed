import type { OpenFile } from '../../store/blob-files.ts';
import type { Follow } from './follow.ts';
import type { Keeper } from '../keeper.ts';

/** A blob that can be read from any position; a committed file and a growing one look the same from outside. */
export interface BlobBody {
  readonly size: number;
  /**
   * Puts the next bytes from `position` into `buffer`; waits for at least one. Returns their number.
   * @throws when the bytes cannot be had: the answer must then end short.
   */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** The reader has no more use for it: a `read` that waits for bytes rejects soon. */
  cancel(): void;
  /** Once, after the last `read` has settled: a file must not be closed under a read. */
  close(): Promise<void>;
}

/** A committed blob. */
export class StoredBody implements BlobBody {
  readonly size: number;
  readonly #file: OpenFile;

  constructor(file: OpenFile) {
    this.#file = file;
    this.size = file.size;
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    const count = await this.#file.read(buffer, position);
    if (count === 0) throw new Error('the blob file became shorter');
    return count;
  }

  /** A read of a file does not wait. */
  cancel(): void {}

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** The reader of a running fill: behind the writer in the partial file, and past the disk when that refused. */
export class FollowedBody implements BlobBody {
  readonly size: number;
  readonly #follow: Follow;
  readonly #file: OpenFile | undefined;
  readonly #keeper: Keeper;
  #bypass: BypassReader | undefined;
  readonly #cancelled = Promise.withResolvers<void>();
  #closed = false;

  /** `file` is absent when the disk gave none, or took it back: then everything comes past the disk. */
  constructor(follow: Follow, file: OpenFile | undefined, keeper: Keeper) {
    this.size = follow.progress.size;
    this.#follow = follow;
    this.#file = file;
    this.#keeper = keeper;
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    while (!this.#closed) {
      const { available, state, fillId } = this.#follow.progress;
      if (position < available && this.#file !== undefined) {
        const count = await this.#file.read(buffer.subarray(0, available - position), position);
        if (count === 0) throw new Error('the partial file became shorter');
        return count;
      }
      if (state.kind === 'failed') throw new Error(`the fill failed: ${state.reason}`);
      if (state.kind === 'detached') {
        this.#bypass ??= await BypassReader.open(
          this.#keeper,
          fillId,
          this.#file === undefined ? undefined : state.at,
        );
        return await this.#bypass.read(buffer, position);
      }
      await Promise.race([this.#follow.changed(), this.#cancelled.promise]);
    }
    throw new Error('nobody reads this any more');
  }

  cancel(): void {
    this.#closed = true;
    this.#cancelled.resolve();
    this.#bypass?.close();
  }

  async close(): Promise<void> {
    this.cancel();
    await this.#file?.close();
  }
}

/** Reads a bypass in order, and drops what lies before the wanted position. */
class BypassReader {
  readonly #keeper: Keeper;
  readonly #ticket: number;
  #chunk: Uint8Array = new Uint8Array(0);
  #chunkStart: number;

  private constructor(keeper: Keeper, ticket: number, start: number) {
    this.#keeper = keeper;
    this.#ticket = ticket;
    this.#chunkStart = start;
  }

  /** `start`: where the asker's partial file ends; undefined when it has none. */
  static async open(keeper: Keeper, fillId: number, start: number | undefined): Promise<BypassReader> {
    const ticket = await keeper.openBypass({ fillId, restOnly: start !== undefined });
    if (ticket === undefined) throw new Error('the fill is not known any more');
    return new BypassReader(keeper, ticket, start ?? 0);
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    while (position >= this.#chunkStart + this.#chunk.byteLength) {
      const chunk = await this.#keeper.readBypass(this.#ticket);
      if (chunk === undefined) throw new Error('the blob ended early');
      this.#chunkStart += this.#chunk.byteLength;
      this.#chunk = chunk;
    }
    const from = position - this.#chunkStart;
    const piece = this.#chunk.subarray(from, from + buffer.byteLength);
    buffer.set(piece);
    return piece.byteLength;
  }

  close(): void {
    this.#keeper.closeBypass(this.#ticket);
  }
}
