import { writev } from 'node:fs';
import type { Hash } from 'node:crypto';
import type { OpenFile } from '../../store/blob-files.ts';
import { MiB } from '../../lib/brand.ts';

/** One write takes all that came in during the last one, up to this: small writes when slow, large ones when fast. */
const MAX_BATCH_BYTES = 1 * MiB;
/** A source is held back when so much waits for the disk. */
const MAX_QUEUED_BYTES = 8 * MiB;

export interface WriterHooks {
  /** Bytes up to `position` are in the file and hashed. */
  written(position: number): void;
  /** Room is needed after a write was refused; resolves to whether another try makes sense. */
  refused(error: NodeJS.ErrnoException): Promise<boolean>;
}

/** Appends to a partial file and hashes what it appended; `hash` never runs ahead of the file. */
export class PartialWriter {
  readonly #file: OpenFile;
  readonly #hooks: WriterHooks;
  #hash: Hash;
  #position: number;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #working: Promise<void> | undefined;
  #broken: Error | undefined;

  /** `hash` has seen exactly the first `position` bytes of the file. */
  constructor(file: OpenFile, hash: Hash, position: number, hooks: WriterHooks) {
    this.#file = file;
    this.#hash = hash;
    this.#position = position;
    this.#hooks = hooks;
  }

  /** Bytes that are in the file. */
  get position(): number {
    return this.#position;
  }

  /** Bytes in the file and on their way there. */
  get received(): number {
    return this.#position + this.#queuedBytes;
  }

  /** The state after exactly {@link position} bytes. */
  hash(): Hash {
    return this.#hash.copy();
  }

  /** Takes a chunk; the promise is there only when the source has to wait. @throws what the disk said. */
  push(chunk: Uint8Array): Promise<void> | undefined {
    if (this.#broken !== undefined) throw this.#broken;
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.byteLength;
    this.#working ??= this.#work();
    return this.#queuedBytes > MAX_QUEUED_BYTES ? this.flushed() : undefined;
  }

  /** Resolves when everything taken is in the file. @throws what the disk said. */
  async flushed(): Promise<void> {
    while (this.#working !== undefined) await this.#working;
    if (this.#broken !== undefined) throw this.#broken;
  }

  async #work(): Promise<void> {
    try {
      while (this.#queue.length > 0) await this.#writeBatch();
    } catch (error) {
      this.#broken = error instanceof Error ? error : new Error(String(error));
      this.#queue = [];
      this.#queuedBytes = 0;
    } finally {
      this.#working = undefined;
    }
  }

  async #writeBatch(): Promise<void> {
    let batch = this.#takeBatch();
    while (batch.length > 0) {
      const before = this.#hash.copy();
      const writing = writeAll(this.#file.fd, batch, this.#position);
      // The disk works on its own thread: hash meanwhile, and go back to the copy if it took less than all.
      for (const chunk of batch) this.#hash.update(chunk);
      const { count, error } = await writing;
      const rest = dropFirst(batch, count);
      if (rest.length > 0) this.#hash = hashFirst(before, batch, count);
      this.#position += count;
      this.#queuedBytes -= count;
      if (count > 0) this.#hooks.written(this.#position);
      if (error !== undefined && !(await this.#hooks.refused(error))) throw error;
      batch = rest;
    }
  }

  #takeBatch(): Uint8Array[] {
    let size = 0;
    let count = 0;
    while (count < this.#queue.length && size < MAX_BATCH_BYTES)
      size += this.#queue[count++]?.byteLength ?? 0;
    return this.#queue.splice(0, count);
  }
}

function writeAll(
  fd: number,
  chunks: readonly Uint8Array[],
  position: number,
): Promise<{ count: number; error: NodeJS.ErrnoException | undefined }> {
  return new Promise((resolve) => {
    writev(fd, chunks, position, (error, count) => {
      resolve(error === null ? { count, error: undefined } : { count: 0, error });
    });
  });
}

function dropFirst(chunks: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = count;
  for (const chunk of chunks) {
    if (skip >= chunk.byteLength) skip -= chunk.byteLength;
    else {
      rest.push(chunk.subarray(skip));
      skip = 0;
    }
  }
  return rest;
}

function hashFirst(hash: Hash, chunks: readonly Uint8Array[], count: number): Hash {
  let left = count;
  for (const chunk of chunks) {
    if (left <= 0) break;
    hash.update(chunk.subarray(0, left));
    left -= Math.min(left, chunk.byteLength);
  }
  return hash;
}
