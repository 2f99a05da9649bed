import { MiB } from '../lib/brand.ts';

export const SMALLEST = 64 * 1024;
export const LARGEST = 1 * MiB;
const SIZES = [LARGEST, 256 * 1024, SMALLEST] as const;

/**
 * Buffers for reading blobs, of three sizes, within a budget: when it is used up, everybody gets the smallest, so that
 * a thousand readers cost 64 MiB and one reader has 1 MiB to itself.
 */
export class ReadBudget {
  readonly #maxBytes: number;
  readonly #free = new Map<number, Buffer[]>(SIZES.map((size) => [size, []]));
  #lent = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** At most `wanted` bytes (but never less than 64 KiB); to be given back. */
  take(wanted: number): Buffer {
    const size = SIZES.find((known) => known <= wanted && this.#lent + known <= this.#maxBytes) ?? SMALLEST;
    this.#lent += size;
    return this.#free.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
  }

  giveBack(buffer: Buffer): void {
    this.#lent -= buffer.byteLength;
    const free = this.#free.get(buffer.byteLength);
    if (free !== undefined && free.length * buffer.byteLength < this.#maxBytes / SIZES.length)
      free.push(buffer);
  }
}
