import type { Digest } from '../oci/digest.ts';
import { repositoryKey, type RepositoryRef } from '../oci/repository-ref.ts';
import { parseRepositoryName } from '../oci/repository-name.ts';
import type { LocalMetadata, MetadataStore } from '../store/metadata-store.ts';

const PRESENT = new Uint8Array([1]);

/**
 * Which repository is known to hold which digest: a manifest of it that came through here names it, or the upstream
 * said so. Without a link a stored blob is not shown, or a caller with rights on one repository could read another's.
 */
export class Links {
  readonly #store: MetadataStore;

  constructor(store: MetadataStore) {
    this.#store = store;
  }

  async has(repository: RepositoryRef, digest: Digest): Promise<boolean> {
    return (await this.#store.get('links', linkKey(repository, digest))) !== undefined;
  }

  async add(repository: RepositoryRef, digests: readonly Digest[]): Promise<void> {
    await Promise.all(
      digests.map((digest) => this.#store.put('links', linkKey(repository, digest), PRESENT)),
    );
  }

  /** The repositories that are known to hold `digest`. */
  async *holders(digest: Digest): AsyncIterable<RepositoryRef> {
    for await (const [key] of this.#store.entries('links', `${digest} `)) {
      const slash = key.indexOf('/');
      const name = parseRepositoryName(key.slice(slash + 1));
      if (name !== undefined) yield { upstream: key.slice(digest.length + 1, slash), name };
    }
  }

  async remove(repository: RepositoryRef, digest: Digest): Promise<void> {
    await this.#store.delete('links', linkKey(repository, digest));
  }

  async removeAll(digest: Digest): Promise<void> {
    const holders: RepositoryRef[] = [];
    for await (const holder of this.holders(digest)) holders.push(holder);
    for (const holder of holders) await this.remove(holder, digest);
  }
}

/** The same question without waiting, for the worker's way of a hit. */
export function isLinked(local: LocalMetadata, repository: RepositoryRef, digest: Digest): boolean {
  return local.has('links', linkKey(repository, digest));
}

/** The digest first, so that all holders of one digest stand together. */
function linkKey(repository: RepositoryRef, digest: Digest): string {
  return `${digest} ${repositoryKey(repository)}`;
}
