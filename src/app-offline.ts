import { Inventory } from './cache/inventory.ts';
import { openStorage } from './app-storage.ts';
import { pinStored } from './cache/pins/pin-stored.ts';
import type { Pins } from './cache/pins/pins.ts';
import { systemClock } from './lib/clock.ts';
import type { ImageReference } from './oci/image-reference.ts';
import { platformOf, type PlatformChoice } from './oci/platform.ts';
import type { StoreLayout } from './store/layout.ts';
import { markCleanEnd, openMetadata } from './store/recovery.ts';

export interface StoppedCache {
  readonly inventory: Inventory;
  readonly pins: Pins;
  /** @throws {NotStoredError} when not all of the image is here. */
  readonly pin: (image: ImageReference, platforms: PlatformChoice | undefined) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** The cache of an edge that does not run, for the commands that look into it or take things out of it. */
export async function openStoppedCache(
  layout: StoreLayout,
  pinsSetAside: (path: string) => void,
): Promise<StoppedCache> {
  await layout.create();
  const metadata = await openMetadata(layout, systemClock);
  const storage = openStorage(
    layout,
    metadata,
    (error) => {
      throw error;
    },
    pinsSetAside,
  );
  await storage.pins.load();
  await storage.index.load();
  const inventory = new Inventory({ ...storage, metadata: metadata.store, clock: systemClock });
  const close = async (): Promise<void> => {
    await metadata.store.close();
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
