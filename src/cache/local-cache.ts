import { LRUCache } from 'lru-cache';
import { MiB, seconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import { algorithmOf, digestOf, type Digest } from '../oci/digest.ts';
import { ManifestError, parseManifest, type Manifest } from '../oci/manifest.ts';
import type { Tag } from '../oci/reference.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import type { BlobFiles, OpenFile } from '../store/blob-files.ts';
import type { LocalMetadata, Table } from '../store/metadata-store.ts';
import { ageOf, decodeTag, tagKey, type RulesOf } from './manifests/freshness.ts';
import { isLinked } from './links.ts';
import { decodeManifest, type ManifestEntry } from './manifests/manifest-store.ts';

const MEMORY_BYTES = 64 * MiB;
/** Configs and the like: four system calls each are more than all the rest of a hit. */
const SMALL_BLOB_BYTES = 64 * 1024;
const SMALL_BLOBS_BYTES = 32 * MiB;
/** How long a found-complete image counts as complete: blobs may be evicted. */
const DELIVERABLE_FOR = seconds(5);

export interface LocalCacheParts {
  readonly metadata: LocalMetadata;
  readonly files: BlobFiles;
  readonly clock: Clock;
  readonly rulesOf: RulesOf;
  readonly storeFailed: (error: unknown) => void;
}

/** What a worker can answer alone: manifests from memory or the embedded store, blobs from the disk. */
export class LocalCache {
  readonly #parts: LocalCacheParts;
  readonly #manifests = new LRUCache<Digest, ManifestEntry>({
    maxSize: MEMORY_BYTES,
    sizeCalculation: (entry) => entry.content.byteLength + 256,
  });
  readonly #smallBlobs = new LRUCache<Digest, Uint8Array>({
    maxSize: SMALL_BLOBS_BYTES,
    sizeCalculation: (content) => content.byteLength + 256,
  });
  readonly #deliverable = new LRUCache<Digest, number>({ max: 1000 });

  constructor(parts: LocalCacheParts) {
    this.#parts = parts;
  }

  manifestByDigest(repository: RepositoryRef, digest: Digest): ManifestEntry | undefined {
    return this.#linked(repository, digest) ? this.#manifest(digest) : undefined;
  }

  /** Only while the tag is fresh; what is stale is the keeper's question. */
  manifestByTag(repository: RepositoryRef, tag: Tag): ManifestEntry | undefined {
    const value = this.#read('tags', tagKey(repository, tag));
    const record = value && decodeTag(value);
    if (record === undefined) return undefined;
    const { clock, rulesOf } = this.#parts;
    if (ageOf(record, clock.now(), rulesOf(repository.upstream)) !== 'fresh') return undefined;
    return this.manifestByDigest(repository, record.digest);
  }

  /** One that is in memory. */
  smallBlob(repository: RepositoryRef, digest: Digest): Uint8Array | undefined {
    const known = this.#smallBlobs.get(digest);
    return known !== undefined && this.#linked(repository, digest) ? known : undefined;
  }

  /** Small ones whole and verified, others as an open file. `damaged`: the file is not what its name says. */
  async blob(
    repository: RepositoryRef,
    digest: Digest,
  ): Promise<Uint8Array | OpenFile | 'damaged' | undefined> {
    if (!this.#linked(repository, digest)) return undefined;
    const known = this.#smallBlobs.get(digest);
    if (known !== undefined) return known;
    try {
      const file = await this.#parts.files.open(digest);
      if (file === undefined || file.size === 0 || file.size > SMALL_BLOB_BYTES) return file;
      const content = await readWhole(file, digest);
      if (content === undefined) return 'damaged';
      this.#smallBlobs.set(digest, content);
      return content;
    } catch (error) {
      this.#parts.storeFailed(error);
      return undefined;
    }
  }

  /**
   * Whether everything that a client will ask for after this manifest is here: all blobs of an image, all of at least
   * one image of an index. podman gives up on a pull whose manifest it got and whose blob it does not get.
   */
  async deliverable(entry: ManifestEntry): Promise<boolean> {
    const until = this.#deliverable.get(entry.digest);
    const now = this.#parts.clock.monotonic();
    if (until !== undefined && now < until) return true;
    const found = await this.#complete(parsed(entry));
    if (found) this.#deliverable.set(entry.digest, now + DELIVERABLE_FOR);
    return found;
  }

  async #complete(manifest: Manifest | undefined): Promise<boolean> {
    if (manifest === undefined) return false;
    for (const digest of manifest.blobs) {
      const file = await this.#parts.files.open(digest);
      await file?.close();
      if (file === undefined) return false;
    }
    if (manifest.kind === 'image') return true;
    for (const digest of manifest.manifests) {
      const child = this.#manifest(digest);
      if (child !== undefined && (await this.#complete(parsed(child)))) return true;
    }
    return false;
  }

  #manifest(digest: Digest): ManifestEntry | undefined {
    const known = this.#manifests.get(digest);
    if (known !== undefined) return known;
    const value = this.#read('manifests', digest);
    const entry = value && decodeManifest(digest, value);
    if (entry !== undefined) this.#manifests.set(digest, entry);
    return entry;
  }

  #linked(repository: RepositoryRef, digest: Digest): boolean {
    try {
      return isLinked(this.#parts.metadata, repository, digest);
    } catch (error) {
      this.#parts.storeFailed(error);
      return false;
    }
  }

  #read(table: Table, key: string): Uint8Array | undefined {
    try {
      return this.#parts.metadata.read(table, key);
    } catch (error) {
      this.#parts.storeFailed(error);
      return undefined;
    }
  }
}

function parsed(entry: ManifestEntry): Manifest | undefined {
  try {
    return parseManifest(entry.content, entry.mediaType);
  } catch (error) {
    if (error instanceof ManifestError) return undefined;
    throw error;
  }
}

/** Undefined when the file is not what its name says. */
async function readWhole(file: OpenFile, digest: Digest): Promise<Uint8Array | undefined> {
  try {
    const content = Buffer.allocUnsafeSlow(file.size);
    const count = await file.read(content, 0);
    return count === file.size && digestOf(content, algorithmOf(digest)) === digest ? content : undefined;
  } finally {
    await file.close();
  }
}
