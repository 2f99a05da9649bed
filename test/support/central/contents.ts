import type { BlobFixture } from '../images/blob.ts';
import type { ImageFixture } from '../images.ts';

interface Repository {
  readonly blobs: Map<string, BlobFixture>;
  readonly manifests: Map<string, BlobFixture>;
  readonly tags: Map<string, string>;
  readonly referrers: Map<string, ImageFixture[]>;
}

/** What the central holds. Blobs belong to a repository, as in a real registry. */
export class Contents {
  readonly #repositories = new Map<string, Repository>();

  addImage(repository: string, tag: string | undefined, image: ImageFixture): void {
    const { blobs, manifests, tags, referrers } = this.#repository(repository);
    for (const blob of image.blobs) blobs.set(blob.digest, blob);
    for (const { manifest } of [image, ...image.images]) manifests.set(manifest.digest, manifest);
    if (tag !== undefined) tags.set(tag, image.digest);
    if (image.subject !== undefined) {
      referrers.set(image.subject, [...(referrers.get(image.subject) ?? []), image]);
    }
  }

  addBlob(repository: string, blob: BlobFixture): void {
    this.#repository(repository).blobs.set(blob.digest, blob);
  }

  addManifest(repository: string, tag: string | undefined, manifest: BlobFixture): void {
    const { manifests, tags } = this.#repository(repository);
    manifests.set(manifest.digest, manifest);
    if (tag !== undefined) tags.set(tag, manifest.digest);
  }

  moveTag(repository: string, tag: string, digest: string): void {
    this.#repository(repository).tags.set(tag, digest);
  }

  /** A tag, a manifest's digest or a blob's digest. */
  remove(repository: string, reference: string): void {
    const { blobs, manifests, tags } = this.#repository(repository);
    tags.delete(reference);
    manifests.delete(reference);
    blobs.delete(reference);
  }

  blob(repository: string, digest: string): BlobFixture | undefined {
    return this.#repositories.get(repository)?.blobs.get(digest);
  }

  manifest(repository: string, reference: string): BlobFixture | undefined {
    const found = this.#repositories.get(repository);
    return found?.manifests.get(found.tags.get(reference) ?? reference);
  }

  tags(repository: string): string[] | undefined {
    const found = this.#repositories.get(repository);
    return found && [...found.tags.keys()].sort();
  }

  /** As the descriptors of an index. */
  referrers(repository: string, subject: string): { artifactType: string | undefined }[] {
    const images = this.#repositories.get(repository)?.referrers.get(subject) ?? [];
    return images.map((image) => ({ ...image.manifest.descriptor, artifactType: image.artifactType }));
  }

  get repositories(): string[] {
    return [...this.#repositories.keys()].sort();
  }

  #repository(name: string): Repository {
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    const made = { blobs: new Map(), manifests: new Map(), tags: new Map(), referrers: new Map() };
    this.#repositories.set(name, made);
    return made;
  }
}
