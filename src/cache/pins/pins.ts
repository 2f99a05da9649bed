import type { Clock } from '../../lib/clock.ts';
import { Semaphore } from '../../lib/semaphore.ts';
import type { Digest } from '../../oci/digest.ts';
import { imageText, type ImageReference } from '../../oci/image-reference.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { choiceText } from '../../oci/platform.ts';
import { blobKey, manifestKey, type BlobIndex, type IndexKey } from '../../store/blob-index.ts';
import type { MetadataStore } from '../../store/metadata-store.ts';
import type { Pin, PinFile } from '../../store/pin-file.ts';
import { decodeTag, tagKey } from '../manifests/freshness.ts';
import type { ManifestEntry, ManifestStore } from '../manifests/manifest-store.ts';

export interface PinsParts {
  readonly file: PinFile;
  readonly manifests: ManifestStore;
  readonly metadata: MetadataStore;
  readonly index: BlobIndex;
  readonly clock: Clock;
  /** The list of pins could not be read: there are none until images are pinned again. */
  readonly setAside: (path: string) => void;
}

/** A pin, for people. */
export interface PinnedImage {
  readonly image: string;
  readonly digest: Digest;
  readonly platforms: string;
  /** Of all that is pinned with it and here; what two pins share counts for each. */
  readonly bytes: number;
  /** Objects that are not here: damaged and set aside, or lost with the disk. */
  readonly missing: number;
  /** The tag names something else by now; the pin stays on what it named until it is warmed again. */
  readonly moved: boolean;
}

/** A purge would take pinned images out; `message` names them and says what to do. */
export class PinnedError extends Error {
  override readonly name = 'PinnedError';

  constructor(images: readonly string[]) {
    const which = images.length === 1 ? `${images[0]} is pinned` : `${images.join(', ')} are pinned`;
    super(`${which}: unpin first (pierhead cache unpin ${images[0]}), or purge with --force`);
  }
}

/** By {@link imageText}. */
type PinsByImage = Map<string, { readonly pin: Pin; readonly keys: ReadonlySet<IndexKey> }>;

/**
 * The images that are never evicted. What is protected is derived from the pins as they are, never counted, so that
 * two pins that share a blob cannot lose it between them. Lifetime: loaded once, before the index, since eviction
 * starts with the index; changed by one at a time.
 */
export class Pins {
  readonly #parts: PinsParts;
  readonly #turn = new Semaphore(1);
  readonly #pinned: PinsByImage = new Map();
  readonly #held = new Set<readonly IndexKey[]>();
  #loaded: Promise<void> | undefined;

  constructor(parts: PinsParts) {
    this.#parts = parts;
  }

  load(): Promise<void> {
    this.#loaded ??= this.#load();
    return this.#loaded;
  }

  async find(image: ImageReference): Promise<Pin | undefined> {
    await this.load();
    return this.#pinned.get(imageText(image))?.pin;
  }

  async all(): Promise<Pin[]> {
    await this.load();
    return [...this.#pinned.values()].map(({ pin }) => pin);
  }

  /** In place of an earlier pin of the same image, whose share is free from here on. */
  async put(pin: Omit<Pin, 'pinnedAt'>): Promise<void> {
    const dated = { ...pin, pinnedAt: this.#parts.clock.now() };
    await this.#change(async (pins) => {
      pins.set(imageText(pin.image), { pin: dated, keys: await this.#keysOf(dated) });
    });
  }

  /** Whether it was pinned. */
  async remove(image: ImageReference): Promise<boolean> {
    return await this.#change(async (pins) => pins.delete(imageText(image)));
  }

  /** Protects what is being fetched in order to be pinned, until the returned function is called. */
  hold(keys: readonly IndexKey[]): () => void {
    this.#held.add(keys);
    this.#protect();
    return () => {
      this.#held.delete(keys);
      this.#protect();
    };
  }

  async pins(): Promise<PinnedImage[]> {
    await this.load();
    const { index } = this.#parts;
    const described = [...this.#pinned].map(async ([image, { pin, keys }]): Promise<PinnedImage> => {
      const sizes = [...keys].map((key) => index.sizeOf(key));
      return {
        image,
        digest: pin.digest,
        platforms: choiceText(pin.platforms),
        bytes: sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0),
        // Before the index is read, nothing can be said to be missing.
        missing: index.loaded ? sizes.filter((size) => size === undefined).length : 0,
        moved: await this.#hasMoved(pin),
      };
    });
    return await Promise.all(described);
  }

  async #load(): Promise<void> {
    const { file, clock, setAside } = this.#parts;
    const read = await file.read(clock.now());
    if (read.setAside !== undefined) setAside(read.setAside);
    for (const pin of read.pins)
      this.#pinned.set(imageText(pin.image), { pin, keys: await this.#keysOf(pin) });
    this.#protect();
  }

  /** On disk first: a pin that was confirmed is there after a crash. */
  async #change<T>(change: (pins: PinsByImage) => Promise<T>): Promise<T> {
    await this.load();
    const release = await this.#turn.acquire();
    try {
      const next = new Map(this.#pinned);
      const result = await change(next);
      await this.#parts.file.write([...next.values()].map(({ pin }) => pin));
      this.#pinned.clear();
      for (const [image, pinned] of next) this.#pinned.set(image, pinned);
      this.#protect();
      return result;
    } finally {
      release();
    }
  }

  #protect(): void {
    const keys = new Set<IndexKey>([...this.#held].flat());
    for (const pinned of this.#pinned.values()) for (const key of pinned.keys) keys.add(key);
    this.#parts.index.pinOnly(keys);
  }

  async #keysOf(pin: Pin): Promise<ReadonlySet<IndexKey>> {
    const keys = new Set(pin.manifests.map(manifestKey));
    for (const digest of pin.manifests) {
      const entry = await this.#manifest(pin, digest);
      if (entry === undefined) continue;
      for (const blob of parseManifest(entry.content, entry.mediaType).blobs) keys.add(blobKey(blob));
    }
    return keys;
  }

  /** From its copy, when the metadata was lost: a pin must hold before the metadata is rebuilt. */
  async #manifest({ image }: Pin, digest: Digest): Promise<ManifestEntry | undefined> {
    const { manifests } = this.#parts;
    return (await manifests.get(digest)) ?? (await manifests.restore(image.repository, digest));
  }

  async #hasMoved({ image: { repository, reference }, digest }: Pin): Promise<boolean> {
    if (reference.kind === 'digest') return false;
    const value = await this.#parts.metadata.get('tags', tagKey(repository, reference.tag));
    const record = value && decodeTag(value);
    return record !== undefined && record.digest !== digest;
  }
}
