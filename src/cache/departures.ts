import { LRUCache } from 'lru-cache';
import type { IndexKey } from '../store/blob-index.ts';

/** The latest; older ones look as if they had never been here. */
const MAX_REMEMBERED = 20_000;

export type Departure = 'evicted' | 'purged' | 'damaged';

/**
 * Why a question was the upstream's. `new`: never here, or too long ago to know. `expired`, `moved`: the tag's record
 * was too old, the tag names another manifest now. `unlinked`: here for another repository, and not known to be in this.
 */
export type MissCause = Departure | 'new' | 'expired' | 'moved' | 'unlinked';

/** What was here and went, and why: so that an operator can tell a cache that is too small from images that are new. */
export class Departures {
  readonly #known = new LRUCache<IndexKey, Departure>({ max: MAX_REMEMBERED });

  note(key: IndexKey, why: Departure): void {
    this.#known.set(key, why);
  }

  causeOf(key: IndexKey): Departure | 'new' {
    return this.#known.get(key) ?? 'new';
  }
}
