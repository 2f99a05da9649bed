import type { Digest } from '../../oci/digest.ts';
import { indexChildren, type IndexChild } from '../../oci/index-children.ts';
import { ManifestError, parseManifest } from '../../oci/manifest.ts';
import { covers, platformText, type Platform, type PlatformChoice } from '../../oci/platform.ts';
import { blobKey, manifestKey, type IndexKey } from '../../store/blob-index.ts';
import type { ManifestEntry } from '../manifests/manifest-store.ts';

/** An index of indexes of images is three; nobody is known to build more. */
const MAX_DEPTH = 4;
const MAX_MANIFESTS = 500;

/** All that a client may ask for when it pulls an image for the chosen platforms. */
export interface ImageParts {
  /** The root first. */
  readonly manifests: readonly Digest[];
  readonly blobs: readonly Digest[];
  /** What is not among them and why, fit for an operator. */
  readonly problems: readonly string[];
}

/** The manifest, or why it cannot be had. */
export type FindManifest = (digest: Digest) => Promise<ManifestEntry | string>;

/** Walks from a manifest to all below it. Ends on any input: each manifest is looked at once, and they are bounded. */
export async function walkImage(
  root: ManifestEntry,
  choice: PlatformChoice,
  find: FindManifest,
): Promise<ImageParts> {
  const manifests: Digest[] = [];
  const blobs = new Set<Digest>();
  const problems: string[] = [];
  const platforms = new PlatformsSeen(choice);
  const seen = new Set([root.digest]);
  let level: readonly ManifestEntry[] = [root];
  for (let depth = 0; level.length > 0; depth += 1) {
    const below: ManifestEntry[] = [];
    for (const entry of level) {
      const manifest = parsed(entry);
      if (manifest === undefined) {
        problems.push(`${entry.digest} is not a manifest`);
        continue;
      }
      manifests.push(entry.digest);
      for (const blob of manifest.blobs) blobs.add(blob);
      if (manifest.kind === 'image') continue;
      for (const { digest } of indexChildren(entry.content).filter((child) => platforms.takes(child))) {
        if (seen.has(digest)) continue;
        seen.add(digest);
        if (seen.size > MAX_MANIFESTS || depth === MAX_DEPTH)
          return { manifests, blobs: [...blobs], problems: [...problems, TOO_MUCH] };
        const found = await find(digest);
        if (typeof found === 'string') problems.push(`${digest}: ${found}`);
        else below.push(found);
      }
    }
    level = below;
  }
  return { manifests, blobs: [...blobs], problems: [...problems, ...platforms.missing()] };
}

const TOO_MUCH = `names over ${MAX_MANIFESTS} manifests, or indexes over ${MAX_DEPTH} deep`;

/** What takes room on disk for these parts. */
export function keysOf({ manifests, blobs }: ImageParts): IndexKey[] {
  return [...manifests.map(manifestKey), ...blobs.map(blobKey)];
}

/** Which platforms were on offer, and which of the wanted ones were not. */
class PlatformsSeen {
  readonly #choice: PlatformChoice;
  readonly #offered = new Set<string>();
  readonly #met = new Set<Platform>();

  constructor(choice: PlatformChoice) {
    this.#choice = choice;
  }

  /** One without a platform is taken: a nested index, whose children say theirs. */
  takes({ platform }: IndexChild): boolean {
    if (this.#choice === 'all' || platform === undefined) return true;
    // BuildKit's attestations, which no client pulls for a platform.
    if (platform.os === 'unknown') return false;
    this.#offered.add(platformText(platform));
    const wanted = this.#choice.filter((each) => covers(each, platform));
    for (const each of wanted) this.#met.add(each);
    return wanted.length > 0;
  }

  /** An image that says nothing of platforms is for whoever pulls it. */
  missing(): string[] {
    if (this.#choice === 'all' || this.#offered.size === 0) return [];
    const offered = [...this.#offered].join(', ');
    return this.#choice
      .filter((each) => !this.#met.has(each))
      .map((each) => `has no ${platformText(each)}; it has ${offered}`);
  }
}

function parsed(entry: ManifestEntry): ReturnType<typeof parseManifest> | undefined {
  try {
    return parseManifest(entry.content, entry.mediaType);
  } catch (error) {
    if (error instanceof ManifestError) return undefined;
    throw error;
  }
}
