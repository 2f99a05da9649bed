import { join } from 'node:path';
import type { Digest } from '../../src/oci/digest.ts';
import { BlobFixture } from './images/blob.ts';
import { makeLayer } from './images/layer.ts';

export { randomBlob, BlobFixture } from './images/blob.ts';
export { pushImage } from './images/push.ts';

export type ImageFormat = 'docker' | 'oci';

const MEDIA_TYPES = {
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  },
} as const;

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** What a registry keeps under a tag: an image, or an index of images. */
export interface ImageFixture {
  readonly kind: 'image' | 'index';
  /** Of the manifest: what the tag points to. */
  readonly digest: Digest;
  readonly manifest: BlobFixture;
  /** Config first, then the layers; of an index, those of all its images, each once. */
  readonly blobs: readonly BlobFixture[];
  readonly layers: readonly BlobFixture[];
  /** The digest of the config, which is docker's image id; `undefined` for an index. */
  readonly imageId: Digest | undefined;
  /** The images of an index. */
  readonly images: readonly ImageFixture[];
  /** Set for an image with a subject: what the referrers API lists it under. */
  readonly subject: Digest | undefined;
  readonly artifactType: string | undefined;
  readonly platform: Platform | undefined;
  /** Manifests and blobs together. */
  readonly totalBytes: number;
}

export interface ImageOptions {
  /** The exact sizes of the layer blobs. */
  readonly layers: readonly number[];
  /** The same seed and options give the same bytes. */
  readonly seed?: string | number;
  readonly format?: ImageFormat;
  readonly platform?: Platform;
  /** Makes it a referrer (an OCI image only). */
  readonly subject?: ImageFixture;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Layers of over 256 MiB are written there; required when there are any. */
  readonly dir?: string;
}

const LARGEST_IN_MEMORY = 256 * 1024 * 1024;

/** A valid image: clients can verify and unpack it. */
export function createImage(options: ImageOptions): ImageFixture {
  const { seed = 'image', format = 'docker', platform = { os: 'linux', architecture: 'amd64' } } = options;
  const types = MEDIA_TYPES[format];
  const layers = options.layers.map((size, index) => {
    if (size > LARGEST_IN_MEMORY && options.dir === undefined)
      throw new Error(`a layer of ${size} bytes needs a dir`);
    const file =
      size > LARGEST_IN_MEMORY && options.dir !== undefined
        ? { file: join(options.dir, `layer-${seed}-${index}`) }
        : {};
    return makeLayer({ size, seed: `${seed}/${index}`, mediaType: types.layer, ...file });
  });
  const config = json(types.config, {
    ...platform,
    created: '2026-01-01T00:00:00Z',
    config: { Cmd: ['/layer'], Labels: { seed: String(seed) } },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((_, index) => ({ created: '2026-01-01T00:00:00Z', created_by: `layer ${index}` })),
  });
  const blobs = layers.map((layer) => layer.blob);
  const manifest = json(types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    artifactType: options.artifactType,
    config: config.descriptor,
    layers: blobs.map((blob) => blob.descriptor),
    subject: options.subject?.manifest.descriptor,
    annotations: options.annotations,
  });
  return {
    kind: 'image',
    digest: manifest.digest,
    manifest,
    blobs: [config, ...blobs],
    layers: blobs,
    imageId: config.digest,
    images: [],
    subject: options.subject?.digest,
    artifactType: options.artifactType ?? (options.subject === undefined ? undefined : types.config),
    platform,
    totalBytes: sum([manifest, config, ...blobs]),
  };
}

/** An OCI index or a docker manifest list over images of several platforms. */
export function createIndex(images: readonly ImageFixture[], format: ImageFormat = 'oci'): ImageFixture {
  const mediaType = MEDIA_TYPES[format].index;
  const manifest = json(mediaType, {
    schemaVersion: 2,
    mediaType,
    manifests: images.map((image) => ({ ...image.manifest.descriptor, platform: image.platform })),
  });
  const unique = (blobs: readonly BlobFixture[]): BlobFixture[] => [
    ...new Map(blobs.map((blob) => [blob.digest, blob])).values(),
  ];
  const blobs = unique(images.flatMap((image) => image.blobs));
  return {
    kind: 'index',
    digest: manifest.digest,
    manifest,
    blobs,
    layers: unique(images.flatMap((image) => image.layers)),
    imageId: undefined,
    images,
    subject: undefined,
    artifactType: undefined,
    platform: undefined,
    totalBytes: sum([manifest, ...images.map((image) => image.manifest), ...blobs]),
  };
}

function json(mediaType: string, value: unknown): BlobFixture {
  return BlobFixture.of(Buffer.from(JSON.stringify(value, undefined, 2)), mediaType);
}

function sum(blobs: readonly BlobFixture[]): number {
  return blobs.reduce((total, blob) => total + blob.size, 0);
}
