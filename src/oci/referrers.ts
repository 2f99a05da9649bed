import { algorithmOf, hexOf, parseDigest, type Digest } from './digest.ts';
import { readDocument } from './name-list.ts';
import { ListError } from './page.ts';
import { parseTag, type Tag } from './reference.ts';

export const REFERRERS_MEDIA_TYPE = 'application/vnd.oci.image.index.v1+json';
/** As much as an index of the same content could have as a manifest. */
export const MAX_REFERRERS_BYTES = 4 * 1024 * 1024;

/** A manifest that names another as its subject. Only what the image spec gives a descriptor, whatever the upstream sends. */
export interface Referrer {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: Readonly<Record<string, unknown>>;
}

/**
 * Reads an image index that lists the referrers of `subject`. One that lists the subject itself loses that entry: no
 * manifest can hold its own digest, and a client that walks from referrer to referrer would never end.
 * @throws {ListError} it is no index, or one of its descriptors is none.
 */
export function parseReferrers(content: Uint8Array, subject: Digest): Referrer[] {
  const { manifests, mediaType } = readDocument(content);
  if (!Array.isArray(manifests) || (mediaType !== undefined && mediaType !== REFERRERS_MEDIA_TYPE))
    throw new ListError('the upstream sent referrers that are not an image index');
  return manifests.map(descriptorOf).filter(({ digest }) => digest !== subject);
}

export function ofArtifactType(referrers: readonly Referrer[], artifactType: string): Referrer[] {
  return referrers.filter((referrer) => referrer.artifactType === artifactType);
}

/** Where clients keep the referrers of a digest in a registry that has no referrers API (distribution spec, "Referrers Tag Schema"). */
export function referrersTag(subject: Digest): Tag {
  const tag = parseTag(`${algorithmOf(subject)}-${hexOf(subject).slice(0, 64)}`);
  if (tag === undefined) throw new Error(`no tag for ${subject}`);
  return tag;
}

function descriptorOf(value: unknown): Referrer {
  if (typeof value !== 'object' || value === null) throw notADescriptor();
  const { mediaType, digest, size, artifactType, annotations, platform } = value as Record<string, unknown>;
  const parsed = typeof digest === 'string' ? parseDigest(digest) : undefined;
  const known = typeof mediaType === 'string' && Number.isSafeInteger(size) && Number(size) >= 0;
  if (parsed === undefined || !known) throw notADescriptor();
  return {
    mediaType,
    digest: parsed,
    size: Number(size),
    ...(typeof artifactType === 'string' && artifactType !== '' && { artifactType }),
    ...(isTextMap(annotations) && { annotations }),
    ...(isMap(platform) && { platform }),
  };
}

function notADescriptor(): ListError {
  return new ListError('the upstream sent referrers with a descriptor that is none');
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTextMap(value: unknown): value is Record<string, string> {
  return isMap(value) && Object.values(value).every((text) => typeof text === 'string');
}
