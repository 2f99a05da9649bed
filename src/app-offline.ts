import { Inventory } from './cache/inventory.ts';
import { openStorage } from './app-storage.ts';
import { systemClock } from './lib/clock.ts';
import type { StoreLayout } from './store/layout.ts';
import { markCleanEnd, openMetadata } from './store/recovery.ts';

/** The cache of an edge that does not run, for the commands that look into it or take things out of it. */
export async function openStoppedCache(
  layout: StoreLayout,
): Promise<{ inventory: Inventory; close: () => Promise<void> }> {
  await layout.create();
  const metadata = await openMetadata(layout, systemClock);
  const storage = openStorage(layout, metadata, (error) => {
    throw error;
  });
  await storage.index.load();
  const inventory = new Inventory({ ...storage, metadata: metadata.store, clock: systemClock });
  const close = async (): Promise<void> => {
    await metadata.store.close();
    await markCleanEnd(layout);
  };
  return { inventory, close };
}
