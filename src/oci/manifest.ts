import { parseDigest, type Digest } from './digest.ts';
import { bareMediaType, manifestKind, type ManifestKind } from './media-type.ts';

/** Registries and clients agree on 4 MiB (containers/image, distribution spec §pushing manifests). */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

export interface Manifest {
  readonly kind: ManifestKind;
  /** Exactly what clients get as `Content-Type`. */
  readonly mediaType: string;
  /** Config and layers of an image; empty for an index. Layers with `urls` only are left out: they live elsewhere. */
  readonly blobs: readonly Digest[];
  /** The children of an index. */
  readonly manifests: readonly Digest[];
}

/** Why a manifest was refused; `message` is fit for a client. */
export class ManifestError extends Error {
  override readonly name = 'ManifestError';
}

/** Types that say nothing: the manifest's own `mediaType` decides then. */
const GENERIC = new Set(['', 'application/json', 'application/octet-stream', 'text/plain', 'text/html']);

/** Names that decide what a manifest is, by how they look in one case. */
const NAMES: ReadonlyMap<string, string> = new Map(
  ['mediaType', 'config', 'layers', 'blobs', 'manifests', 'fsLayers', 'digest', 'urls'].map((name) => [
    name.toLowerCase(),
    name,
  ]),
);

/**
 * Reads the parts of a manifest that the edge acts on.
 * @throws {ManifestError} not JSON, over the size, of an unknown type, or of two types at once (CVE-2021-41190).
 */
export function parseManifest(content: Uint8Array, contentType: string | undefined): Manifest {
  if (content.byteLength > MAX_MANIFEST_BYTES)
    throw new ManifestError(`manifest is over ${MAX_MANIFEST_BYTES} bytes`);
  const document = readObject(content);
  const own = typeof document['mediaType'] === 'string' ? bareMediaType(document['mediaType']) : undefined;
  const sent = bareMediaType(contentType ?? '');
  const mediaType = GENERIC.has(sent) ? (own ?? guessType(document)) : sent;
  if (mediaType === undefined) throw new ManifestError('manifest has no media type');
  if (own !== undefined && own !== mediaType) {
    throw new ManifestError(`mediaType ${quote(own)} and Content-Type ${quote(mediaType)} disagree`);
  }
  const kind = manifestKind(mediaType);
  if (kind === undefined)
    throw new ManifestError(`media type ${quote(mediaType)} is not a manifest type known here`);
  const hasContent = 'layers' in document || 'config' in document || 'blobs' in document;
  if ('fsLayers' in document) throw new ManifestError('manifest is of schema 1, or of two schemas at once');
  if ('manifests' in document ? hasContent || kind !== 'index' : kind === 'index') {
    throw new ManifestError('manifest is an image and an index at once, or neither');
  }
  if (kind === 'index') return { kind, mediaType, blobs: [], manifests: digestsIn(document['manifests']) };
  const config = document['config'] === undefined ? [] : digestsIn([document['config']]);
  const layers = digestsIn(document['layers'] ?? document['blobs'] ?? []);
  return { kind, mediaType, blobs: [...new Set([...config, ...layers])], manifests: [] };
}

function readObject(content: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content));
  } catch (cause) {
    throw new ManifestError('manifest is not JSON', { cause });
  }
  if (!isObject(value)) throw new ManifestError('manifest is not a JSON object');
  refuseOtherSpellings(value);
  return value;
}

/**
 * Clients written in Go read names in any case, the long s and the Kelvin sign included: an image with `Manifests` beside its
 * layers is an image here and an index there (CVE-2021-41190).
 */
function refuseOtherSpellings(object: Record<string, unknown>): void {
  for (const key of Object.keys(object)) {
    const name = NAMES.get(key.toUpperCase().toLowerCase());
    if (name !== undefined && name !== key) throw new ManifestError(`manifest has ${quote(key)} for ${name}`);
  }
}

function digestsIn(descriptors: unknown): Digest[] {
  if (!Array.isArray(descriptors))
    throw new ManifestError('manifest has a descriptor list that is not a list');
  const digests: Digest[] = [];
  for (const descriptor of descriptors as unknown[]) {
    if (isObject(descriptor)) refuseOtherSpellings(descriptor);
    const digest =
      isObject(descriptor) && typeof descriptor['digest'] === 'string'
        ? parseDigest(descriptor['digest'])
        : undefined;
    if (digest === undefined) throw new ManifestError('manifest has a descriptor without a valid digest');
    if (isObject(descriptor) && Array.isArray(descriptor['urls']) && descriptor['urls'].length > 0) continue;
    digests.push(digest);
  }
  return digests;
}

function guessType(document: Record<string, unknown>): string | undefined {
  if ('manifests' in document) return 'application/vnd.oci.image.index.v1+json';
  return 'layers' in document ? 'application/vnd.oci.image.manifest.v1+json' : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
