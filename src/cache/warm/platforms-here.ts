import { indexChildren } from '../../oci/index-children.ts';
import { parseManifest } from '../../oci/manifest.ts';
import type { Platform } from '../../oci/platform.ts';
import { blobKey, type BlobIndex } from '../../store/blob-index.ts';
import type { ManifestEntry, ManifestStore } from '../manifests/manifest-store.ts';

/** What is here, without asking anybody. */
export interface Shelf {
  readonly manifests: ManifestStore;
  readonly index: BlobIndex;
}

/** The platforms of which all is here: somebody has pulled them. None for what is no index. */
export async function platformsHere({ manifests, index }: Shelf, root: ManifestEntry): Promise<Platform[]> {
  if (parseManifest(root.content, root.mediaType).kind === 'image') return [];
  const here: Platform[] = [];
  for (const { digest, platform } of indexChildren(root.content)) {
    const entry =
      platform === undefined || platform.os === 'unknown' ? undefined : await manifests.get(digest);
    if (platform === undefined || entry === undefined) continue;
    const { blobs } = parseManifest(entry.content, entry.mediaType);
    if (blobs.every((blob) => index.has(blobKey(blob)))) here.push(platform);
  }
  return here;
}
