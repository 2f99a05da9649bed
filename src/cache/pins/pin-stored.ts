import type { Digest } from '../../oci/digest.ts';
import { imageText, type ImageReference } from '../../oci/image-reference.ts';
import type { Platform, PlatformChoice } from '../../oci/platform.ts';
import type { MetadataStore } from '../../store/metadata-store.ts';
import { decodeTag, tagKey } from '../manifests/freshness.ts';
import { keysOf, walkImage } from '../warm/image-walk.ts';
import { platformsHere, type Shelf } from '../warm/platforms-here.ts';
import type { Pins } from './pins.ts';

export interface PinStoredParts {
  readonly pins: Pins;
  readonly shelf: Shelf;
  readonly metadata: MetadataStore;
  /** What this host would pull. */
  readonly host: Platform;
}

/** Not all of the image is here, and nobody can fetch it now; `message` says what to do. */
export class NotStoredError extends Error {
  override readonly name = 'NotStoredError';

  constructor(image: ImageReference, missing: string) {
    super(`${imageText(image)}: ${missing}; start the edge and pin again, it fetches what is missing`);
  }
}

/** Pins an image without an edge that could fetch anything. @throws {NotStoredError} when it is not whole. */
export async function pinStored(
  { pins, shelf, metadata, host }: PinStoredParts,
  image: ImageReference,
  platforms: PlatformChoice | undefined,
): Promise<void> {
  const digest = await digestHere(metadata, image);
  const root = digest && (await shelf.manifests.get(digest));
  if (root === undefined) throw new NotStoredError(image, 'nothing of it is in the cache');
  const here = platforms === undefined ? await platformsHere(shelf, root) : [];
  const choice = platforms ?? (here.length > 0 ? here : [host]);
  const parts = await walkImage(
    root,
    choice,
    async (child) => (await shelf.manifests.get(child)) ?? 'this manifest is not in the cache',
  );
  if (parts.problems.length > 0) throw new NotStoredError(image, parts.problems.join('; '));
  const keys = keysOf(parts);
  const missing = keys.filter((key) => !shelf.index.has(key)).length;
  if (missing > 0)
    throw new NotStoredError(image, `${missing} of its ${keys.length} objects are not in the cache`);
  await pins.put({ image, digest: root.digest, manifests: parts.manifests, platforms: choice });
}

async function digestHere(metadata: MetadataStore, image: ImageReference): Promise<Digest | undefined> {
  const { repository, reference } = image;
  if (reference.kind === 'digest') return reference.digest;
  const value = await metadata.get('tags', tagKey(repository, reference.tag));
  return value && decodeTag(value)?.digest;
}
