import { ManifestError, parseManifest, type Manifest } from '../../oci/manifest.ts';
import { algorithmOf, digestOf, type Digest } from '../../oci/digest.ts';
import type { RepositoryRef } from '../../oci/repository-ref.ts';
import { manifestKey, type BlobIndex } from '../../store/blob-index.ts';
import type { ManifestFiles } from '../../store/manifest-files.ts';
import type { LocalMetadata, MetadataStore } from '../../store/metadata-store.ts';
import type { Links } from '../links.ts';

export interface ManifestEntry {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly content: Uint8Array;
}

/** A manifest that may be asked for by a rule of its own before anybody gets it. @throws ManifestError to refuse. */
export type AdmissionPolicy = (
  entry: ManifestEntry,
  manifest: Manifest,
  repository: RepositoryRef,
) => Promise<void>;

export interface ManifestStoreParts {
  /** May also know what other edges of the site have. */
  readonly metadata: MetadataStore;
  /** Of this host. */
  readonly local: LocalMetadata;
  readonly links: Links;
  readonly files: ManifestFiles;
  readonly index: BlobIndex;
  readonly policies: readonly AdmissionPolicy[];
  /** The disk or the store refused; the manifest is served all the same. */
  readonly notKept: (digest: Digest, error: unknown) => void;
}

/** Manifests by digest, with what they say about their repository: the one place where a manifest comes in. */
export class ManifestStore {
  readonly #parts: ManifestStoreParts;

  constructor(parts: ManifestStoreParts) {
    this.#parts = parts;
  }

  /** Of this host. @throws {StoreError} */
  async get(digest: Digest): Promise<ManifestEntry | undefined> {
    const value = this.#parts.local.read('manifests', digest);
    return value && decodeManifest(digest, value);
  }

  /**
   * One that another edge of the site has: it comes in as if the upstream had sent it, so that policies see it and
   * this host has all that a worker needs.
   * @throws {ManifestError}
   */
  async adopt(repository: RepositoryRef, digest: Digest): Promise<ManifestEntry | undefined> {
    const value = await this.#parts.metadata.get('manifests', digest);
    const entry = value && decodeManifest(digest, value);
    return entry && (await this.admit(repository, entry.content, entry.mediaType, digest));
  }

  /**
   * Verifies, judges and keeps a manifest of `repository`. `expected` is the digest that was asked for or announced.
   * @throws {ManifestError} the bytes are not what they were said to be, or a policy refuses them.
   */
  async admit(
    repository: RepositoryRef,
    content: Uint8Array,
    contentType: string | undefined,
    expected: Digest | undefined,
  ): Promise<ManifestEntry> {
    const digest = digestOf(content, expected === undefined ? 'sha256' : algorithmOf(expected));
    if (expected !== undefined && digest !== expected) throw new DigestMismatch(expected);
    const manifest = parseManifest(content, contentType);
    const entry = { digest, mediaType: manifest.mediaType, content };
    for (const policy of this.#parts.policies) await policy(entry, manifest, repository);
    try {
      await this.#keep(repository, entry, manifest);
    } catch (error) {
      this.#parts.notKept(digest, error);
    }
    return entry;
  }

  /** After the metadata was lost: the copy under the repository, put in again. */
  async restore(repository: RepositoryRef, digest: Digest): Promise<ManifestEntry | undefined> {
    const content = await this.#parts.files.read(repository, digest);
    return content && (await this.admit(repository, content, undefined, digest));
  }

  /** Everything that is known of a manifest, except links of other kinds of content. */
  async remove(digest: Digest): Promise<void> {
    const { metadata, links, files, index } = this.#parts;
    for await (const repository of links.holders(digest)) await files.remove(repository, digest);
    await metadata.delete('manifests', digest);
    await links.removeAll(digest);
    await index.remove(manifestKey(digest));
  }

  /** The repository holds it no more; others may. */
  async unlink(repository: RepositoryRef, digest: Digest): Promise<void> {
    await this.#parts.links.remove(repository, digest);
    await this.#parts.files.remove(repository, digest);
  }

  async #keep(repository: RepositoryRef, entry: ManifestEntry, manifest: Manifest): Promise<void> {
    const { metadata, links, files, index } = this.#parts;
    await links.add(repository, [entry.digest, ...manifest.blobs, ...manifest.manifests]);
    await metadata.put('manifests', entry.digest, encodeManifest(entry));
    // Twice: in the metadata and as a file.
    await index.add(manifestKey(entry.digest), 2 * entry.content.byteLength);
    await files.write({ repository, digest: entry.digest, content: entry.content });
  }
}

/** The bytes are not the ones that were asked for. */
export class DigestMismatch extends ManifestError {
  constructor(expected: Digest) {
    super(`the upstream sent a manifest that is not ${expected}`);
  }
}

/** One byte for the length of the media type, the media type, the content. */
export function encodeManifest(entry: ManifestEntry): Uint8Array {
  const mediaType = Buffer.from(entry.mediaType, 'latin1').subarray(0, 255);
  return Buffer.concat([Uint8Array.of(mediaType.byteLength), mediaType, entry.content]);
}

/**
 * The content is a copy: a store's memory may be gone when it is used. A damaged one is none: nothing is served that is
 * not what its digest says, wherever it was kept.
 */
export function decodeManifest(digest: Digest, value: Uint8Array): ManifestEntry | undefined {
  const [length] = value;
  if (length === undefined || value.byteLength < 1 + length) return undefined;
  const content = Uint8Array.from(value.subarray(1 + length));
  if (digestOf(content, algorithmOf(digest)) !== digest) return undefined;
  return { digest, mediaType: Buffer.from(value.subarray(1, 1 + length)).toString('latin1'), content };
}
