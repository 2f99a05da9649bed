import { MiB } from './brand.ts';

export const SMALLEST_READ = 64 * 1024;
export const LARGEST_READ = 1 * MiB;
const SIZES = [LARGEST_READ, 256 * 1024, SMALLEST_READ] as const;

/**
 * Buffers for reading blobs, of three sizes, within a budget: when it is used up, everybody gets the smallest, so that
 * a thousand readers cost 64 MiB and one reader has 1 MiB to itself.
 */
export class ReadBudget {
  readonly #maxBytes: number;
  readonly #free = new Map<number, Buffer[]>(SIZES.map((size) => [size, []]));
  #lent = 0;
  #kept = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** At most `wanted` bytes (but never less than 64 KiB); to be given back. */
  take(wanted: number): Buffer {
    const size =
      SIZES.find((known) => known <= wanted && this.#lent + known <= this.#maxBytes) ?? SMALLEST_READ;
    this.#lent += size;
    const kept = this.#free.get(size)?.pop();
    if (kept === undefined) return Buffer.allocUnsafeSlow(size);
    this.#kept -= size;
    return kept;
  }

  /** Lent and kept together stay within the budget; what is over it is left to the garbage collector. */
  giveBack(buffer: Buffer): void {
    this.#lent -= buffer.byteLength;
    if (this.#lent + this.#kept + buffer.byteLength > this.#maxBytes) return;
    this.#free.get(buffer.byteLength)?.push(buffer);
    this.#kept += buffer.byteLength;
  }
}
