import { Inventory } from './cache/inventory.ts';
import { openStorage } from './app-storage.ts';
import { pinStored } from './cache/pins/pin-stored.ts';
import type { Pins } from './cache/pins/pins.ts';
import { systemClock } from './lib/clock.ts';
import type { ImageReference } from './oci/image-reference.ts';
import { platformOf, type PlatformChoice } from './oci/platform.ts';
import type { EmbeddedStore } from './store/embedded-store.ts';
import type { StoreLayout } from './store/layout.ts';
import { StoreError } from './store/metadata-store.ts';
import { markCleanEnd, openMetadata } from './store/recovery.ts';
import { TieredStore } from './store/tiered-store.ts';

export interface StoppedCache {
  readonly inventory: Inventory;
  readonly pins: Pins;
  /** @throws {NotStoredError} when not all of the image is here. */
  readonly pin: (image: ImageReference, platforms: PlatformChoice | undefined) => Promise<void>;
  readonly close: () => Promise<void>;
}

export interface StoppedCacheOptions {
  /** The edge shares a store with others, which have to hear of what is taken out. */
  readonly shared: boolean;
  /** The list of pins could not be read; it is at `path` now. */
  readonly pinsSetAside: (path: string) => void;
}

/** The cache of an edge that does not run, for the commands that look into it or take things out of it. */
export async function openStoppedCache(
  layout: StoreLayout,
  { shared, pinsSetAside }: StoppedCacheOptions,
): Promise<StoppedCache> {
  await layout.create();
  const metadata = await openMetadata(layout, systemClock);
  const failed = (error: unknown): never => {
    throw error;
  };
  const store = shared ? withoutTheSite(metadata.store, failed) : metadata.store;
  const storage = openStorage(layout, metadata, failed, pinsSetAside, store);
  await storage.pins.load();
  await storage.index.load();
  const inventory = new Inventory({ ...storage, metadata: store, clock: systemClock });
  const close = async (): Promise<void> => {
    await store.close();
    await markCleanEnd(layout);
  };
  const pin: StoppedCache['pin'] = (image, platforms) =>
    pinStored(
      { pins: storage.pins, shelf: storage, metadata: metadata.store, host: platformOf(process.arch) },
      image,
      platforms,
    );
  return { inventory, pins: storage.pins, pin, close };
}

/** What is taken out here, the shared store has to forget as well: the edge tells it when it runs again. */
function withoutTheSite(embedded: EmbeddedStore, storeFailed: (error: unknown) => void): TieredStore {
  const away = async (): Promise<never> => {
    throw new StoreError('unavailable', 'the shared store is asked by a running edge only');
  };
  return new TieredStore({
    embedded,
    shared: { find: away, put: away, delete: away },
    journal: embedded.localRecords('state'),
    clock: systemClock,
    tags: { fresh: () => true, latest: (local) => local },
    events: { droppedWrite: () => undefined, forgotDeletes: () => undefined, storeFailed },
  });
}
