import t from 'tap';
import { seconds } from '../../src/lib/brand.ts';
import { startCentral, type Central } from '../support/central.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createImage, type ImageFixture } from '../support/images.ts';
import type { Teardown } from '../support/temp.ts';
import { bodyOf, CacheSite, digest, readAll, reference, repository, type SiteOptions } from './cache-site.ts';

const APP = 'team/app';
const OTHER = 'team/other';

interface Scene {
  readonly central: Central;
  readonly clock: FakeClock;
  readonly site: CacheSite;
  readonly image: ImageFixture;
  /** Pulls the manifest, and the first layer where there is one in it. Returns why the central was asked. */
  readonly pull: (what?: string, from?: string) => Promise<string[]>;
}

async function scene(test: Teardown, options: SiteOptions = {}): Promise<Scene> {
  const central = await startCentral();
  test.teardown(() => central.stop());
  const image = createImage({ layers: [100_000], seed: 1 });
  central.addImage('team/app', 'v1', image);
  central.addImage('team/other', 'v1', image);
  const clock = new FakeClock();
  const site = await CacheSite.open(test, central, { clock, ...options });
  const worker = site.worker();
  const layer = digest(image.layers[0]?.digest ?? '');
  return {
    central,
    clock,
    site,
    image,
    pull: async (what = 'v1', from = APP) => {
      site.misses.length = 0;
      await worker.manifest(repository(from), reference(what));
      await readAll(await bodyOf(worker, from, layer));
      return [...site.misses];
    },
  };
}

void t.test('new, and then not missed any more', async (t) => {
  const { pull } = await scene(t);
  t.same(await pull(), ['manifest: new', 'blob: new']);
  t.same(await pull(), []);
});

void t.test('a tag that moved, and one whose record is too old', async (t) => {
  const { central, clock, pull } = await scene(t, { rules: { staleIfError: seconds(3600) } });
  await pull();
  central.addImage('team/app', 'v1', createImage({ layers: [3000], seed: 2 }));
  await clock.advance(61_000);
  t.same(await pull(), ['manifest: moved']);
  await clock.advance(3_601_000);
  t.same(await pull(), ['manifest: expired']);
});

void t.test('what is here for another repository only', async (t) => {
  const { image, pull } = await scene(t);
  await pull();
  t.same(await pull(image.digest, OTHER), ['manifest: unlinked']);
});

void t.test('what was evicted, purged, or set aside because it was damaged', async (t) => {
  const { site, image, pull } = await scene(t);
  await pull();
  // The blob is in the books a moment after its reader has all of it.
  await eventually(() => site.index.count === 2);
  site.evictor.limit({ maxBytes: 0, highWatermark: 0.9 });
  await site.evictor.settle();
  site.evictor.limit({ maxBytes: 1e12, highWatermark: 0.9 });
  t.same(await pull(), ['manifest: evicted', 'blob: evicted']);
  await eventually(() => site.index.count === 2);
  await site.inventory.purge({ kind: 'all' });
  t.same(await pull(image.digest), ['manifest: purged', 'blob: purged']);
});
