import { attempt } from '../../lib/attempt.ts';
import { ms } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Digest } from '../../oci/digest.ts';
import type { MetadataStore } from '../../store/metadata-store.ts';
import { ageOf, decodeTag, encodeTag, type RulesOf, type TagRecord, upstreamOfKey } from './freshness.ts';

export interface KnownTagsParts {
  readonly metadata: MetadataStore;
  readonly clock: Clock;
  readonly rulesOf: RulesOf;
  readonly storeFailed: (error: unknown) => void;
}

/** Changes whenever a tag is dropped. */
export type TagEra = { readonly drops: number };

/**
 * What upstreams have said of tags. An answer to a question that was asked before a tag was dropped is not written down
 * after it: it may tell of the time before a push. Which tag it was does not matter; a drop is rare.
 */
export class KnownTags {
  readonly #parts: KnownTagsParts;
  #era: TagEra = { drops: 0 };

  constructor(parts: KnownTagsParts) {
    this.#parts = parts;
  }

  /** To be taken before the upstream is asked. */
  get era(): TagEra {
    return this.#era;
  }

  /** The latest that is known of it, on this edge or among its siblings. */
  async get(key: string): Promise<TagRecord | undefined> {
    const value = await this.#attempt(() => this.#parts.metadata.get('tags', key));
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

  /**
   * A push or a purge on another edge may have been missed: nothing that `own`, the store of this host alone, has is
   * fresh any longer. It stays what is served when the upstream cannot be asked. @throws {StoreError}
   */
  async doubtAll(own: MetadataStore): Promise<void> {
    this.#era = { drops: this.#era.drops + 1 };
    const { clock } = this.#parts;
    const doubted: Promise<void>[] = [];
    for await (const [key, value] of own.entries('tags', '')) {
      const record = decodeTag(value);
      const rules = this.#parts.rulesOf(upstreamOfKey(key));
      if (record === undefined || ageOf(record, clock.now(), rules) !== 'fresh') continue;
      const checkedAt = ms(clock.now() - rules.tag);
      doubted.push(own.put('tags', key, encodeTag({ digest: record.digest, checkedAt })));
    }
    await Promise.all(doubted);
  }

  #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    return attempt(work, this.#parts.storeFailed);
  }
}
