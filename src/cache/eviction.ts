import { SingleFlight } from '../lib/single-flight.ts';
import type { BlobIndex, Stored } from '../store/blob-index.ts';

export interface EvictionLimits {
  /** Bytes that blobs, manifests and reservations may take together. */
  readonly maxBytes: number;
  /** Used share of the file system over which the cache gives way, 0 to 1. */
  readonly highWatermark: number;
}

export interface Filesystem {
  readonly totalBytes: number;
  readonly availableBytes: number;
}

export interface EvictionParts {
  readonly index: BlobIndex;
  readonly filesystem: () => Promise<Filesystem>;
  /** Removes the files and all that is known of an entry. */
  readonly remove: (stored: Stored) => Promise<void>;
  readonly evicted: (stored: Stored) => void;
}

/**
 * Keeps what is stored under `maxBytes` and under the file system's high watermark: least recently used first, pinned
 * never. A file that somebody reads may go: the reader has it open, and its room comes back when it is closed.
 */
export class Evictor {
  readonly #parts: EvictionParts;
  #limits: EvictionLimits;
  readonly #reserved = new Map<number, number>();
  readonly #running = new SingleFlight<'evict', void>();

  constructor(parts: EvictionParts, limits: EvictionLimits) {
    this.#parts = parts;
    this.#limits = limits;
  }

  /** In force from here on; what is over them goes with the next {@link settle}. */
  limit(limits: EvictionLimits): void {
    this.#limits = limits;
  }

  /**
   * Makes room for a fill before its first byte is written. False: so much can never fit, even with all else gone.
   * The room counts as taken until {@link release}.
   */
  async reserve(fillId: number, bytes: number): Promise<boolean> {
    if (bytes > this.#limits.maxBytes) return false;
    this.#reserved.set(fillId, bytes);
    await this.settle();
    return true;
  }

  release(fillId: number): void {
    this.#reserved.delete(fillId);
  }

  /** Evicts until the limits hold or nothing is left to evict. One run at a time, however many ask. */
  settle(): Promise<void> {
    return this.#running.run('evict', () => this.#evict());
  }

  get reservedBytes(): number {
    let sum = 0;
    for (const bytes of this.#reserved.values()) sum += bytes;
    return sum;
  }

  async #evict(): Promise<void> {
    const { index, remove, evicted } = this.#parts;
    // Before the order of the last run is back, the wrong ones would go.
    if (!index.loaded) return;
    let excess = await this.#excess();
    if (excess <= 0) return;
    const victims: Stored[] = [];
    for (const [, stored] of index.evictable()) {
      if (excess <= 0) break;
      victims.push(stored);
      excess -= stored.size;
    }
    for (const stored of victims) {
      await remove(stored);
      evicted(stored);
    }
  }

  /** Bytes that have to go. The reservations of running fills are partly on disk already: they count once, here. */
  async #excess(): Promise<number> {
    const { maxBytes, highWatermark } = this.#limits;
    const overBudget = this.#parts.index.bytes + this.reservedBytes - maxBytes;
    const { totalBytes, availableBytes } = await this.#parts.filesystem();
    const overWatermark = totalBytes - availableBytes - totalBytes * highWatermark;
    return Math.max(overBudget, overWatermark);
  }
}
