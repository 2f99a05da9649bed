import { statfs } from 'node:fs/promises';
import { Evictor, type Filesystem } from './cache/eviction.ts';
import { Departures } from './cache/departures.ts';
import { Links } from './cache/links.ts';
import { ManifestStore } from './cache/manifests/manifest-store.ts';
import { Pins } from './cache/pins/pins.ts';
import type { StorageConfig } from './config/config.ts';
import { systemClock } from './lib/clock.ts';
import { BlobFiles } from './store/blob-files.ts';
import { blobKey, BlobIndex, manifestKey, type Stored } from './store/blob-index.ts';
import type { StoreLayout } from './store/layout.ts';
import { ManifestFiles } from './store/manifest-files.ts';
import type { MetadataStore } from './store/metadata-store.ts';
import { PinFile } from './store/pin-file.ts';
import type { OpenedMetadata } from './store/recovery.ts';

/** The disk's side of the keeper: files, metadata, order, room. */
export interface Storage {
  readonly layout: StoreLayout;
  /** Of this host. */
  readonly metadata: OpenedMetadata;
  /** The same, or what it shares with other edges as well. */
  readonly store: MetadataStore;
  readonly files: BlobFiles;
  readonly links: Links;
  readonly index: BlobIndex;
  readonly departures: Departures;
  readonly manifestFiles: ManifestFiles;
  readonly manifests: ManifestStore;
  /** As `links` and `manifests`, of this host alone: what has no room here may well stay elsewhere. */
  readonly evictable: { readonly links: Links; readonly manifests: ManifestStore };
  readonly pins: Pins;
}

/** The parts over an opened metadata store that need nobody else. */
export function openStorage(
  layout: StoreLayout,
  metadata: OpenedMetadata,
  storeFailed: (error: unknown) => void,
  pinsSetAside: (path: string) => void,
  store: MetadataStore = metadata.store,
): Storage {
  const local = metadata.store;
  const index = new BlobIndex(local.localRecords('index'), systemClock);
  const manifestFiles = new ManifestFiles(layout);
  const over = (metadata: MetadataStore): Storage['evictable'] => {
    const links = new Links(metadata);
    const manifests = new ManifestStore({
      metadata,
      local,
      links,
      files: manifestFiles,
      index,
      policies: [],
      notKept: (_digest, error) => storeFailed(error),
    });
    return { links, manifests };
  };
  const files = new BlobFiles(layout);
  const shared = over(store);
  const pins = new Pins({
    file: new PinFile(layout),
    manifests: shared.manifests,
    metadata: store,
    index,
    clock: systemClock,
    setAside: pinsSetAside,
  });
  return {
    layout,
    metadata,
    store,
    files,
    index,
    manifestFiles,
    ...shared,
    evictable: over(local),
    pins,
    departures: new Departures(),
  };
}

/** @throws what the disk says when it cannot be asked. */
export async function filesystemOf(layout: StoreLayout): Promise<Filesystem> {
  const { bsize, blocks, bavail } = await statfs(layout.root);
  return { totalBytes: blocks * bsize, availableBytes: bavail * bsize };
}

/** Keeps what is stored within `storage.maxSize` and the file system's watermark. */
export function createEvictor(
  { index, files, departures, evictable: { links, manifests }, layout }: Storage,
  { maxSize, highWatermark }: StorageConfig,
  evicted: (stored: Stored) => void,
): Evictor {
  const remove = async (stored: Stored): Promise<void> => {
    if (stored.kind === 'manifest') {
      await manifests.remove(stored.digest);
      departures.note(manifestKey(stored.digest), 'evicted');
      return;
    }
    await files.remove(stored.digest);
    await index.remove(blobKey(stored.digest));
    await links.removeAll(stored.digest);
    departures.note(blobKey(stored.digest), 'evicted');
  };
  const filesystem = (): Promise<Filesystem> => filesystemOf(layout);
  return new Evictor({ index, filesystem, remove, evicted }, { maxBytes: maxSize, highWatermark });
}
