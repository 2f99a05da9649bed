import { LRUCache } from 'lru-cache';
import { MiB, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Page } from '../../oci/page.ts';

const MAX_BYTES = 32 * MiB;
/** What an entry takes besides its list: its key, and the cache's own records. */
const ENTRY_BYTES = 512;

/** One page of a list as it is sent. */
export interface KeptPage {
  /** A JSON array. */
  readonly entries: Uint8Array;
  readonly next: Page | undefined;
}

interface Kept {
  readonly page: KeptPage;
  /** On the monotonic clock: the lists do not outlive the process. */
  readonly since: Milliseconds;
}

/**
 * The upstreams' last words on their lists, in memory: fresh for `freshness.tag`, shown for `freshness.staleIfError`
 * while an upstream cannot answer. Bounded in bytes; the least recently used go first.
 */
export class ListCache {
  readonly #kept: LRUCache<string, Kept>;
  readonly #clock: Clock;
  #era = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#kept = new LRUCache({
      maxSize: MAX_BYTES,
      sizeCalculation: ({ page }, key) => page.entries.byteLength + 2 * key.length + ENTRY_BYTES,
    });
  }

  /** Only when it is younger than that. */
  get(key: string, maxAge: Milliseconds): KeptPage | undefined {
    const kept = this.#kept.get(key);
    return kept !== undefined && this.#clock.monotonic() - kept.since < maxAge ? kept.page : undefined;
  }

  /** Goes up with each {@link drop}: what was asked before one is not the upstream's last word after it. */
  get era(): number {
    return this.#era;
  }

  /** `era` is that of the time when the upstream was asked; the answer to a question from before a drop is not kept. */
  put(key: string, page: KeptPage, era: number): void {
    if (era !== this.#era) return;
    this.#kept.set(key, { page, since: this.#clock.monotonic() });
  }

  delete(key: string): void {
    this.#kept.delete(key);
  }

  /** Every page whose key begins so. Looks through all keys: not for what clients can cause. */
  drop(prefix: string): void {
    this.#era += 1;
    for (const key of Array.from(this.#kept.keys())) if (key.startsWith(prefix)) this.#kept.delete(key);
  }
}
