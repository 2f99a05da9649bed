import { Inventory } from './cache/inventory.ts';
import { openStorage } from './app-storage.ts';
import { systemClock } from './lib/clock.ts';
import type { EmbeddedStore } from './store/embedded-store.ts';
import type { StoreLayout } from './store/layout.ts';
import { StoreError } from './store/metadata-store.ts';
import { markCleanEnd, openMetadata } from './store/recovery.ts';
import { TieredStore } from './store/tiered-store.ts';

/** The cache of an edge that does not run, for the commands that look into it or take things out of it. */
export async function openStoppedCache(
  layout: StoreLayout,
  { shared }: { readonly shared: boolean },
): Promise<{ inventory: Inventory; close: () => Promise<void> }> {
  await layout.create();
  const metadata = await openMetadata(layout, systemClock);
  const failed = (error: unknown): never => {
    throw error;
  };
  const store = shared ? withoutTheSite(metadata.store, failed) : metadata.store;
  const storage = openStorage(layout, metadata, failed, store);
  await storage.index.load();
  const inventory = new Inventory({ ...storage, metadata: store, clock: systemClock });
  const close = async (): Promise<void> => {
    await store.close();
    await markCleanEnd(layout);
  };
  return { inventory, close };
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
