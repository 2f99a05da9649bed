import { MiB } from '../../lib/brand.ts';
import type { ReadBudget } from '../../lib/read-budget.ts';
import type { OpenFile } from '../../store/blob-files.ts';

/** Large enough to be worth a read, small enough that a hundred slow readers with one each are no burden. */
const CHUNK_BYTES = 256 * 1024;
/** What is kept for readers that come a moment later. */
const WINDOW_BYTES = 4 * MiB;

/** Bytes of a blob, until they are released. */
export interface Piece {
  readonly bytes: Uint8Array;
  /** Once; the bytes may be overwritten from here on. */
  readonly release: () => void;
}

/** A part of the file in memory; its buffer goes back when the window and every reader are done with it. */
class SharedChunk {
  readonly start: number;
  readonly bytes: Uint8Array;
  readonly #giveBack: () => void;
  #holders = 1;

  constructor(start: number, bytes: Uint8Array, giveBack: () => void) {
    this.start = start;
    this.bytes = bytes;
    this.#giveBack = giveBack;
  }

  get end(): number {
    return this.start + this.bytes.byteLength;
  }

  /** From `position` on, held until it is released. */
  from(position: number): Piece {
    this.#holders += 1;
    return { bytes: this.bytes.subarray(position - this.start), release: () => this.release() };
  }

  release(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.#giveBack();
  }
}

/**
 * The readers of a growing file stand at the same place, behind its end: what one of them reads is given to all.
 * A thousand clients of a cold blob so cost one read of each byte per worker, not a thousand.
 */
export class SharedWindow {
  readonly #file: OpenFile;
  readonly #buffers: ReadBudget;
  readonly #reading = new Map<number, Promise<SharedChunk>>();
  #chunks: SharedChunk[] = [];

  constructor(file: OpenFile, buffers: ReadBudget) {
    this.#file = file;
    this.#buffers = buffers;
  }

  /** Bytes from `position`, which lies before `available`; never past it. */
  async read(position: number, available: number): Promise<Piece> {
    const known = this.#chunks.find((chunk) => chunk.start <= position && position < chunk.end);
    if (known !== undefined) return known.from(position);
    const running = this.#reading.get(position);
    const reading = running ?? this.#load(position, available);
    if (running === undefined) this.#reading.set(position, reading);
    return (await reading).from(position);
  }

  /** After the last read has settled. */
  async close(): Promise<void> {
    for (const chunk of this.#chunks) chunk.release();
    this.#chunks = [];
    await this.#file.close();
  }

  async #load(position: number, available: number): Promise<SharedChunk> {
    const buffer = this.#buffers.take(CHUNK_BYTES);
    try {
      const count = await this.#file.read(buffer.subarray(0, available - position), position);
      if (count === 0) throw new Error('the partial file became shorter');
      const chunk = new SharedChunk(position, buffer.subarray(0, count), () =>
        this.#buffers.giveBack(buffer),
      );
      this.#keep(chunk);
      return chunk;
    } catch (error) {
      this.#buffers.giveBack(buffer);
      throw error;
    } finally {
      this.#reading.delete(position);
    }
  }

  /** The newest come first: most readers want those. */
  #keep(chunk: SharedChunk): void {
    this.#chunks.unshift(chunk);
    let size = 0;
    const keep = this.#chunks.findIndex((known) => (size += known.bytes.byteLength) > WINDOW_BYTES);
    if (keep === -1) return;
    for (const old of this.#chunks.splice(Math.max(1, keep))) old.release();
  }
}
