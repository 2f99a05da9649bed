import { tagRecords } from '../../../src/cache/manifests/freshness.ts';
import { SiblingEdges } from '../../../src/cache/site/sibling-edges.ts';
import { EmbeddedStore } from '../../../src/store/embedded-store.ts';
import { StoreError } from '../../../src/store/metadata-store.ts';
import { TieredStore, type SharedStore } from '../../../src/store/tiered-store.ts';
import type { Central } from '../../support/central.ts';
import type { FakeClock } from '../../support/fake-clock.ts';
import { tempFolder, type Teardown } from '../../support/temp.ts';
import { CacheSite, type SiteOptions } from '../cache-site.ts';
import { MemorySite, type MemoryChannel } from './memory-site.ts';

export interface TestEdge {
  readonly cache: CacheSite;
  readonly siblings: SiblingEdges;
  readonly channel: MemoryChannel;
}

export interface TestSite {
  readonly site: MemorySite;
  readonly a: TestEdge;
  readonly b: TestEdge;
  /** While true, nothing that is shared can be reached. */
  away: boolean;
}

/** The caches of two edges in one process, over one shared store and one clock. */
export async function twoEdges(
  t: Teardown,
  central: Central,
  clock: FakeClock,
  options: SiteOptions = {},
): Promise<TestSite> {
  const site = new MemorySite(clock);
  const common = new EmbeddedStore(tempFolder(t, 'shared'), { clock });
  t.teardown(() => common.close());
  const reach = (): EmbeddedStore => {
    if (scene.away) throw new StoreError('unavailable', 'away');
    return common;
  };
  const shared: Omit<SharedStore, 'get' | 'entries' | 'close'> = {
    put: async (...record) => await reach().put(...record),
    delete: async (table, key) => await reach().delete(table, key),
    find: async (table, key) => {
      const value = await reach().get(table, key);
      return value && { value: Uint8Array.from(value), expiresAt: undefined };
    },
  };
  const edge = async (name: string): Promise<TestEdge> => {
    const channel = site.channel();
    const siblings = new SiblingEdges({
      channel,
      key: Buffer.alloc(32, 1),
      clock,
      name,
      carryOut: async (announcement) => {
        if (announcement.kind === 'purge') await cache.inventory.purge(announcement.selector);
        else await cache.manifestCache.forgetTag(announcement.repository, announcement.tag);
      },
      missed: () => cache.manifestCache.doubtTags(cache.store),
      events: {
        announced: () => undefined,
        carriedOut: () => undefined,
        refused: (why) => cache.happened.push(why),
        failed: (error) => cache.happened.push(`failed ${String(error)}`),
      },
    });
    const cache: CacheSite = await CacheSite.open(t, central, {
      ...options,
      clock,
      sharing: (embedded, rules) => {
        const events = {
          droppedWrite: () => undefined,
          forgotDeletes: () => undefined,
          storeFailed: (error: unknown) => void cache.happened.push(`store failed ${String(error)}`),
        };
        const journal = embedded.localRecords('state');
        const tags = tagRecords(clock, () => rules);
        const store = new TieredStore({ embedded, shared, journal, clock, tags, events });
        return {
          store,
          site: {
            leases: { take: async (question) => (scene.away ? GRANTED : await site.take(question)) },
            shared: store,
            announce: (announcement) => siblings.announce(announcement),
          },
        };
      },
    });
    t.teardown(() => siblings.close());
    siblings.listen();
    return { cache, siblings, channel };
  };
  const scene: TestSite = { site, a: await edge('a'), b: await edge('b'), away: false };
  await clock.advance(0);
  return scene;
}

const GRANTED = { release: () => undefined };
