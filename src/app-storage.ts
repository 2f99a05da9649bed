import { statfs } from 'node:fs/promises';
import { Evictor } from './cache/eviction.ts';
import { Links } from './cache/links.ts';
import { ManifestStore } from './cache/manifests/manifest-store.ts';
import { Pins } from './cache/pins/pins.ts';
import type { StorageConfig } from './config/config.ts';
import { systemClock } from './lib/clock.ts';
import { BlobFiles } from './store/blob-files.ts';
import { blobKey, BlobIndex, type Stored } from './store/blob-index.ts';
import type { StoreLayout } from './store/layout.ts';
import { ManifestFiles } from './store/manifest-files.ts';
import { PinFile } from './store/pin-file.ts';
import type { OpenedMetadata } from './store/recovery.ts';

/** The disk's side of the keeper: files, metadata, order, room. */
export interface Storage {
  readonly layout: StoreLayout;
  readonly metadata: OpenedMetadata;
  readonly files: BlobFiles;
  readonly links: Links;
  readonly index: BlobIndex;
  readonly manifestFiles: ManifestFiles;
  readonly manifests: ManifestStore;
  readonly pins: Pins;
}

/** The parts over an opened metadata store that need nobody else. */
export function openStorage(
  layout: StoreLayout,
  metadata: OpenedMetadata,
  storeFailed: (error: unknown) => void,
  pinsSetAside: (path: string) => void,
): Storage {
  const { store } = metadata;
  const links = new Links(store);
  const index = new BlobIndex(store.localRecords('index'), systemClock);
  const manifestFiles = new ManifestFiles(layout);
  const manifests = new ManifestStore({
    metadata: store,
    links,
    files: manifestFiles,
    index,
    policies: [],
    notKept: (_digest, error) => storeFailed(error),
  });
  const pins = new Pins({
    file: new PinFile(layout),
    manifests,
    metadata: store,
    index,
    clock: systemClock,
    setAside: pinsSetAside,
  });
  return { layout, metadata, files: new BlobFiles(layout), links, index, manifestFiles, manifests, pins };
}

/** Keeps what is stored within `storage.maxSize` and the file system's watermark. */
export function createEvictor(
  { index, files, links, manifests, layout }: Storage,
  { maxSize, highWatermark }: StorageConfig,
  evicted: (stored: Stored) => void,
): Evictor {
  const filesystem = async (): Promise<{ totalBytes: number; availableBytes: number }> => {
    const { bsize, blocks, bavail } = await statfs(layout.root);
    return { totalBytes: blocks * bsize, availableBytes: bavail * bsize };
  };
  const remove = async (stored: Stored): Promise<void> => {
    if (stored.kind === 'manifest') return await manifests.remove(stored.digest);
    await files.remove(stored.digest);
    await index.remove(blobKey(stored.digest));
    await links.removeAll(stored.digest);
  };
  return new Evictor({ index, filesystem, remove, evicted }, { maxBytes: maxSize, highWatermark });
}
