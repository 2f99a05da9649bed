/** Manifest media types that clients of today understand (OCI image spec 1.1, Docker schema 2). */
const IMAGE_TYPES = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.oci.artifact.manifest.v1+json',
]);
const INDEX_TYPES = new Set([
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
]);

/** Asked of the upstream whatever the client accepts, so that there is one copy per digest. */
export const MANIFEST_ACCEPT = [...INDEX_TYPES, ...IMAGE_TYPES].join(', ');

export type ManifestKind = 'image' | 'index';

export function manifestKind(mediaType: string): ManifestKind | undefined {
  if (IMAGE_TYPES.has(mediaType)) return 'image';
  if (INDEX_TYPES.has(mediaType)) return 'index';
  return undefined;
}

/** The type without its parameters: clients compare it as a string and fail on `; charset=utf-8`. */
export function bareMediaType(contentType: string): string {
  const semicolon = contentType.indexOf(';');
  return (semicolon === -1 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
}
