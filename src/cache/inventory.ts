import type { Clock } from '../lib/clock.ts';
import { ManifestError, parseManifest, type Manifest } from '../oci/manifest.ts';
import type { Digest } from '../oci/digest.ts';
import { imageText } from '../oci/image-reference.ts';
import { parseTag, type Tag } from '../oci/reference.ts';
import { parseRepositoryName } from '../oci/repository-name.ts';
import { repositoryKey, type RepositoryRef } from '../oci/repository-ref.ts';
import { blobKey, manifestKey, type BlobIndex } from '../store/blob-index.ts';
import type { BlobFiles } from '../store/blob-files.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { decodeTag, tagKey } from './manifests/freshness.ts';
import type { Departures } from './departures.ts';
import type { Links } from './links.ts';
import { PinnedError, type Pins } from './pins/pins.ts';
import { decodeManifest, type ManifestEntry, type ManifestStore } from './manifests/manifest-store.ts';

export interface InventoryParts {
  readonly metadata: MetadataStore;
  readonly manifests: ManifestStore;
  readonly links: Links;
  readonly departures: Departures;
  readonly index: BlobIndex;
  readonly files: BlobFiles;
  readonly clock: Clock;
  /** After a purge, for whoever else has to know. */
  readonly purged?: (selector: PurgeSelector) => Promise<void>;
  readonly pins: Pins;
}

/** A tag and what is here of it. */
export interface CachedImage {
  readonly upstream: string;
  readonly repository: string;
  readonly tag: string;
  readonly digest: Digest;
  /** Bytes of its blobs that are here, all platforms together. */
  readonly bytes: number;
  /** Seconds since the upstream's last word on the tag. */
  readonly checkedSecondsAgo: number;
  /** It is never evicted. */
  readonly pinned: boolean;
}

export interface CacheStats {
  readonly objects: number;
  readonly bytes: number;
  readonly tags: number;
  readonly manifests: number;
  /** Of what is never evicted. */
  readonly pinnedBytes: number;
  readonly pins: number;
  /** False while the order of the last run is still being read. */
  readonly indexLoaded: boolean;
}

export type PurgeSelector =
  | { readonly kind: 'all' }
  | { readonly kind: 'tag'; readonly repository: RepositoryRef; readonly tag: Tag }
  | { readonly kind: 'repository'; readonly repository: RepositoryRef };

export interface PurgeResult {
  readonly tags: number;
  readonly manifests: number;
  readonly blobs: number;
  readonly bytes: number;
}

/** What is in the cache, for people; and taking things out of it. Runs in the keeper, or on a store that nobody runs on. */
export class Inventory {
  readonly #parts: InventoryParts;

  constructor(parts: InventoryParts) {
    this.#parts = parts;
  }

  async images(): Promise<CachedImage[]> {
    const images: CachedImage[] = [];
    await this.#parts.pins.load();
    const now = this.#parts.clock.now();
    for await (const { repository, tag, digest, checkedAt } of this.#tags()) {
      const closure = await this.#closure(digest);
      images.push({
        upstream: repository.upstream,
        repository: repository.name,
        tag,
        digest,
        bytes: [...closure.blobs].reduce(
          (sum, blob) => sum + (this.#parts.index.sizeOf(blobKey(blob)) ?? 0),
          0,
        ),
        checkedSecondsAgo: Math.max(0, Math.round((now - checkedAt) / 1000)),
        pinned: this.#parts.index.isPinned(manifestKey(digest)),
      });
    }
    return images;
  }

  async stats(): Promise<CacheStats> {
    const { index, metadata, pins } = this.#parts;
    const pinned = await pins.all();
    const count = async (table: 'tags' | 'manifests'): Promise<number> => {
      let entries = 0;
      for await (const _ of metadata.entries(table, '')) entries += 1;
      return entries;
    };
    return {
      objects: index.count,
      bytes: index.bytes,
      tags: await count('tags'),
      manifests: await count('manifests'),
      pinnedBytes: index.pinnedBytes,
      pins: pinned.length,
      indexLoaded: index.loaded,
    };
  }

  /**
   * Takes out what is selected; blobs that another image here still names stay, and so does what a pin protects.
   * `force` takes out pinned images, too, and their pins. @throws {PinnedError} without it, before anything is gone.
   */
  async purge(selector: PurgeSelector, force = false): Promise<PurgeResult> {
    await this.#unpin(selector, force);
    const result = await this.#takeOut(selector);
    await this.#parts.purged?.(selector);
    return result;
  }

  async #takeOut(selector: PurgeSelector): Promise<PurgeResult> {
    const { metadata } = this.#parts;
    const going: { key: string; digest: Digest }[] = [];
    for await (const { repository, tag, digest } of this.#tags()) {
      if (selects(selector, repository, tag)) going.push({ key: tagKey(repository, tag), digest });
    }
    for (const { key } of going) await metadata.delete('tags', key);
    // Also when it is not here: another edge of the site may have it.
    if (selector.kind === 'tag' && going.length === 0)
      await metadata.delete('tags', tagKey(selector.repository, selector.tag));
    if (selector.kind === 'all') return { tags: going.length, ...(await this.#purgeAll()) };
    const gone = new Set<Digest>();
    for (const { digest } of going)
      for (const manifest of (await this.#closure(digest)).manifests) gone.add(manifest);
    if (selector.kind === 'repository') await this.#addHeld(selector.repository, gone);
    return { tags: going.length, ...(await this.#purgeManifests(gone)) };
  }

  async #unpin(selector: PurgeSelector, force: boolean): Promise<void> {
    const { pins } = this.#parts;
    const pinned = (await pins.all())
      .map(({ image }) => image)
      .filter(({ repository, reference }) =>
        reference.kind === 'tag'
          ? selects(selector, repository, reference.tag)
          : selector.kind !== 'tag' && selects(selector, repository, undefined),
      );
    if (pinned.length > 0 && !force) throw new PinnedError(pinned.map(imageText));
    for (const image of pinned) await pins.remove(image);
  }

  async #purgeAll(): Promise<Omit<PurgeResult, 'tags'>> {
    let manifests = 0;
    let blobs = 0;
    let bytes = 0;
    for (const stored of this.#parts.index.all()) {
      if (stored.kind === 'manifest') {
        await this.#removeManifest(stored.digest);
        manifests += 1;
      } else {
        bytes += await this.#removeBlob(stored.digest);
        blobs += 1;
      }
    }
    return { manifests, blobs, bytes };
  }

  async #purgeManifests(chosen: ReadonlySet<Digest>): Promise<Omit<PurgeResult, 'tags'>> {
    const stillTagged = new Set<Digest>();
    for await (const { digest } of this.#tags()) {
      for (const manifest of (await this.#closure(digest)).manifests) stillTagged.add(manifest);
    }
    const { index } = this.#parts;
    const gone = new Set(
      [...chosen].filter((digest) => !stillTagged.has(digest) && !index.isPinned(manifestKey(digest))),
    );
    const blobs = new Set<Digest>();
    for (const digest of gone) for (const blob of (await this.#closure(digest)).blobs) blobs.add(blob);
    for await (const [key, value] of this.#parts.metadata.entries('manifests', '')) {
      const digest = key as Digest;
      if (gone.has(digest)) continue;
      for (const blob of parsed(decodeManifest(digest, value))?.blobs ?? []) blobs.delete(blob);
    }
    for (const digest of gone) await this.#removeManifest(digest);
    let bytes = 0;
    for (const blob of blobs) bytes += await this.#removeBlob(blob);
    return { manifests: gone.size, blobs: blobs.size, bytes };
  }

  async #addHeld(repository: RepositoryRef, digests: Set<Digest>): Promise<void> {
    for await (const [key] of this.#parts.metadata.entries('manifests', '')) {
      const digest = key as Digest;
      if (await this.#parts.links.has(repository, digest)) digests.add(digest);
    }
  }

  async #removeManifest(digest: Digest): Promise<void> {
    await this.#parts.manifests.remove(digest);
    this.#parts.departures.note(manifestKey(digest), 'purged');
  }

  async #removeBlob(digest: Digest): Promise<number> {
    const { index, files, links } = this.#parts;
    const size = index.sizeOf(blobKey(digest)) ?? 0;
    await files.remove(digest);
    await index.remove(blobKey(digest));
    await links.removeAll(digest);
    this.#parts.departures.note(blobKey(digest), 'purged');
    return size;
  }

  /** A manifest, its children that are here, and all blobs that they name. */
  async #closure(digest: Digest): Promise<{ manifests: Set<Digest>; blobs: Set<Digest> }> {
    const manifests = new Set<Digest>();
    const blobs = new Set<Digest>();
    const open = [digest];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const manifest = manifests.has(next) ? undefined : parsed(await this.#parts.manifests.get(next));
      if (manifest === undefined) continue;
      manifests.add(next);
      for (const blob of manifest.blobs) blobs.add(blob);
      open.push(...manifest.manifests);
    }
    return { manifests, blobs };
  }

  async *#tags(): AsyncIterable<{ repository: RepositoryRef; tag: Tag; digest: Digest; checkedAt: number }> {
    for await (const [key, value] of this.#parts.metadata.entries('tags', '')) {
      const slash = key.indexOf('/');
      const colon = key.lastIndexOf(':');
      const name = parseRepositoryName(key.slice(slash + 1, colon));
      const tag = parseTag(key.slice(colon + 1));
      const record = decodeTag(value);
      if (name === undefined || tag === undefined || record === undefined) continue;
      yield { repository: { upstream: key.slice(0, slash), name }, tag, ...record };
    }
  }
}

function selects(selector: PurgeSelector, repository: RepositoryRef, tag: Tag | undefined): boolean {
  if (selector.kind === 'all') return true;
  if (repositoryKey(selector.repository) !== repositoryKey(repository)) return false;
  return selector.kind === 'repository' || selector.tag === tag;
}

function parsed(entry: ManifestEntry | undefined): Manifest | undefined {
  if (entry === undefined) return undefined;
  try {
    return parseManifest(entry.content, entry.mediaType);
  } catch (error) {
    if (error instanceof ManifestError) return undefined;
    throw error;
  }
}
