import { parseTag } from '../../oci/reference.ts';
import { parseRepositoryName } from '../../oci/repository-name.ts';
import { repositoryKey, type RepositoryRef } from '../../oci/repository-ref.ts';
import type { Clock } from '../../lib/clock.ts';
import type { MetadataStore } from '../../store/metadata-store.ts';
import { ageOf, decodeTag, type RulesOf } from '../manifests/freshness.ts';

/** So that a store of millions of tags costs an outage's lists no more than others. */
const MAX_NAMES = 100_000;

/**
 * What pulls have left in the metadata: outlives a restart, unlike the lists themselves. Tags that were pulled and may
 * still be served stale, not all that the upstream has.
 */
export class KnownNames {
  readonly #metadata: MetadataStore;
  readonly #clock: Clock;
  readonly #rulesOf: RulesOf;

  constructor(metadata: MetadataStore, clock: Clock, rulesOf: RulesOf) {
    this.#metadata = metadata;
    this.#clock = clock;
    this.#rulesOf = rulesOf;
  }

  /** In the order of bytes, as the store has them. */
  async tags(repository: RepositoryRef): Promise<readonly string[]> {
    const prefix = `${repositoryKey(repository)}:`;
    return await this.#collect(repository.upstream, prefix, (key) => parseTag(key.slice(prefix.length)));
  }

  /** Those of which a tag was pulled. */
  async repositories(upstream: string): Promise<readonly string[]> {
    const prefix = `${upstream}/`;
    const names = await this.#collect(upstream, prefix, (key) =>
      parseRepositoryName(key.slice(prefix.length, key.lastIndexOf(':'))),
    );
    return names.toSorted();
  }

  async #collect(
    upstream: string,
    prefix: string,
    nameIn: (key: string) => string | undefined,
  ): Promise<readonly string[]> {
    const names = new Set<string>();
    const now = this.#clock.now();
    const rules = this.#rulesOf(upstream);
    for await (const [key, value] of this.#metadata.entries('tags', prefix)) {
      const record = decodeTag(value);
      const name = nameIn(key);
      if (name === undefined || record === undefined || ageOf(record, now, rules) === 'expired') continue;
      names.add(name);
      if (names.size === MAX_NAMES) break;
    }
    return [...names];
  }
}
