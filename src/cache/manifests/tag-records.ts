import { attempt } from '../../lib/attempt.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Digest } from '../../oci/digest.ts';
import type { MetadataStore, SharedMetadata } from '../../store/metadata-store.ts';
import { ageOf, decodeTag, encodeTag, type FreshnessRules, type TagRecord } from './freshness.ts';

export interface TagRecordsParts {
  readonly metadata: MetadataStore;
  readonly shared: SharedMetadata;
  readonly clock: Clock;
  readonly rules: FreshnessRules;
  readonly storeFailed: (error: unknown) => void;
}

/** Changes whenever a tag is dropped. */
export type TagEra = { readonly drops: number };

/**
 * What upstreams have said of tags. An answer to a question that was asked before a tag was dropped is not written down
 * after it: it may tell of the time before a push. Which tag it was does not matter; a drop is rare.
 */
export class TagRecords {
  readonly #parts: TagRecordsParts;
  #era: TagEra = { drops: 0 };

  constructor(parts: TagRecordsParts) {
    this.#parts = parts;
  }

  /** To be taken before the upstream is asked. */
  get era(): TagEra {
    return this.#era;
  }

  async get(key: string): Promise<TagRecord | undefined> {
    const value = await this.#attempt(() => this.#parts.metadata.get('tags', key));
    return value && decodeTag(value);
  }

  /** What another edge of the site has been told so lately that it is still fresh. */
  async fresh(key: string): Promise<TagRecord | undefined> {
    const { shared, clock, rules } = this.#parts;
    const value = await shared.latest('tags', key, (found) => {
      const record = decodeTag(found);
      return record !== undefined && ageOf(record, clock.now(), rules) === 'fresh';
    });
    return value && decodeTag(value);
  }

  async put(key: string, digest: Digest, era: TagEra): Promise<void> {
    if (era !== this.#era) return;
    const record = { digest, checkedAt: this.#parts.clock.now() };
    await this.#attempt(() => this.#parts.metadata.put('tags', key, encodeTag(record)));
  }

  /** The upstream has denied it. */
  async remove(key: string): Promise<void> {
    await this.#attempt(() => this.#parts.metadata.delete('tags', key));
  }

  /** What was said of it, or is just being said, is old. @throws {StoreError} */
  async drop(key: string): Promise<void> {
    this.#era = { drops: this.#era.drops + 1 };
    await this.#parts.metadata.delete('tags', key);
  }

  #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    return attempt(work, this.#parts.storeFailed);
  }
}
