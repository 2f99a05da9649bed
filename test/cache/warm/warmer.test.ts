import t from 'tap';
import type { WarmEvent, WarmedImage, WarmJob } from '../../../src/cache/warm/warm-job.ts';
import { parsePlatform, type PlatformChoice } from '../../../src/oci/platform.ts';
import { startCentral, type Central } from '../../support/central.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { createImage, createIndex, randomBlob, type ImageFixture } from '../../support/images.ts';
import type { Teardown } from '../../support/temp.ts';
import { CacheSite, digest, reference, repository, type SiteOptions } from '../cache-site.ts';

const [amd64, arm64, armV7] = ['linux/amd64', 'linux/arm64', 'linux/arm/v7'].map((name) =>
  createImage({ layers: [60_000, 4000], seed: name, format: 'oci', platform: platform(name) }),
) as [ImageFixture, ImageFixture, ImageFixture];
const attestation = createImage({
  layers: [3000],
  seed: 'attestation',
  format: 'oci',
  platform: { os: 'unknown', architecture: 'unknown' },
});
const index = createIndex([amd64, arm64, armV7, attestation]);

void t.test('of an index, what was chosen is fetched, each once, and again nothing', async (t) => {
  const { central, site } = await started(t);
  central.addImage('team/app', 'v1', index);
  const events: WarmEvent[] = [];
  const [first] = await warm(site, 'v1', choice('linux/arm64'), (event) => events.push(event));
  t.match(first, {
    image: 'central/team/app:v1',
    outcome: 'complete',
    digest: index.digest,
    platforms: 'linux/arm64',
    fetchedBlobs: 3,
    fetchedBytes: bytesOf(arm64),
    cachedBlobs: 0,
    problems: [],
    pinned: false,
  });
  t.same(fetchedFrom(central), digestsOf(arm64));
  t.equal(central.requests('GET', 'blob'), 3, 'by one GET each');
  t.same(
    central.find({ kind: 'manifest' }).map(({ method, reference }) => `${method} ${reference}`),
    ['GET v1', `GET ${arm64.digest}`],
  );
  t.same(events.filter(({ kind }) => kind === 'blob').length, 3, 'the end of each blob is told');
  central.forget();
  const [again] = await warm(site, 'v1', choice('linux/arm64'));
  t.match(again, { outcome: 'complete', fetchedBlobs: 0, fetchedBytes: 0, cachedBlobs: 3 });
  t.same(central.log, [], 'the tag is fresh still');
  t.same(site.happened.filter((what) => what === 'warmed fetched').length, 3);
  t.same(site.happened.filter((what) => what === 'warmed cached').length, 3);
});

void t.test('what is here costs one question for the tag', async (t) => {
  const clock = new FakeClock();
  const { central, site } = await started(t, { clock });
  central.addImage('team/app', 'v1', amd64);
  await warm(site, 'v1');
  central.forget();
  await clock.advance(61_000);
  t.match(await warm(site, 'v1'), [{ outcome: 'complete', fetchedBlobs: 0, cachedBlobs: 3 }]);
  t.same(
    central.log.map(({ method, reference }) => `${method} ${reference}`),
    ['HEAD v1'],
  );
});

void t.test('which platforms of an index are meant', async (t) => {
  for (const [chosen, ...images] of [
    [choice('linux/amd64', 'linux/arm'), amd64, armV7],
    [choice('linux/arm64/v8'), arm64],
    [undefined, amd64],
    ['all', amd64, arm64, armV7, attestation],
  ] as const) {
    const { central, site } = await started(t);
    central.addImage('team/app', 'v1', index);
    t.match(await warm(site, 'v1', chosen), [{ outcome: 'complete', problems: [] }]);
    t.same(fetchedFrom(central), images.flatMap(digestsOf).sort());
  }
});

void t.test('a platform that the image is not for is said, and the others come', async (t) => {
  const { central, site } = await started(t);
  central.addImage('team/app', 'v1', index);
  const [result] = await warm(site, 'v1', choice('linux/arm64', 'linux/riscv64'));
  t.match(result, {
    outcome: 'failed',
    fetchedBlobs: 3,
    temporary: false,
    problems: ['has no linux/riscv64; it has linux/amd64, linux/arm64, linux/arm/v7'],
  });
});

void t.test('indexes of indexes are walked, and what is everywhere is fetched once', async (t) => {
  const { central, site } = await started(t);
  const inner = createIndex([amd64, arm64]);
  const outer = createIndex([inner, amd64]);
  central.addImage('team/app', undefined, inner);
  central.addImage('team/app', 'v1', outer);
  t.match(await warm(site, 'v1', choice('linux/amd64')), [{ outcome: 'complete', fetchedBlobs: 3 }]);
  t.equal(central.requests('GET', 'blob'), 3);
});

void t.test('an index that goes too deep is an error, and ends', async (t) => {
  const { central, site } = await started(t);
  let nested = createIndex([amd64]);
  for (let depth = 0; depth < 5; depth += 1) {
    central.addImage('team/app', 'v1', nested);
    nested = createIndex([nested]);
  }
  central.addImage('team/app', 'v1', nested);
  t.match(await warm(site, 'v1'), [
    { outcome: 'failed', problems: [/indexes over 4 deep/], temporary: false },
  ]);
});

void t.test('a blob that fails at first is asked for again', async (t) => {
  const { central, site } = await started(t, { times: { patience: 30 as never } });
  central.addImage('team/app', 'v1', amd64);
  const [layer] = amd64.layers;
  central.on({ kind: 'blob', reference: layer?.digest ?? '' }, { kind: 'corrupt', offset: 10, times: 1 });
  const events: WarmEvent[] = [];
  t.match(await warm(site, 'v1', undefined, (event) => events.push(event)), [
    { outcome: 'complete', fetchedBlobs: 3 },
  ]);
  t.match(
    events.filter(({ kind }) => kind === 'retry'),
    [{ what: layer?.digest, problem: 'what the upstream sent is something else' }],
  );
  t.equal(central.requests('GET', 'blob', layer?.digest), 2);
});

void t.test('one that keeps failing is given up, named, and the rest is here', async (t) => {
  const { central, site } = await started(t);
  central.addImage('team/app', 'v1', amd64);
  const [layer] = amd64.layers;
  central.on({ kind: 'blob', reference: layer?.digest ?? '' }, { kind: 'corrupt', offset: 10 });
  t.match(await warm(site, 'v1'), [
    {
      outcome: 'failed',
      fetchedBlobs: 2,
      temporary: true,
      problems: [`${layer?.digest}: what the upstream sent`],
    },
  ]);
  t.equal(central.requests('GET', 'blob', layer?.digest), 3, 'as often as it may be tried');
});

void t.test('a blob that the upstream does not have is not asked for again', async (t) => {
  const { central, site } = await started(t);
  central.addImage('team/app', 'v1', amd64);
  const [layer] = amd64.layers;
  central.contents.remove('team/app', layer?.digest ?? '');
  t.match(await warm(site, 'v1'), [
    { outcome: 'failed', temporary: false, problems: [`${layer?.digest}: the upstream does not have it`] },
  ]);
  t.equal(central.requests('GET', 'blob', layer?.digest), 1);
});

void t.test('an image that is unknown does not keep the next from coming', async (t) => {
  const { central, site } = await started(t);
  central.addImage('team/app', 'v1', amd64);
  const job = { ...jobOf('nope'), images: [...jobOf('nope').images, ...jobOf('v1').images] };
  t.match(await site.warmer.warm(job, () => undefined), [
    { image: 'central/team/app:nope', outcome: 'failed', temporary: false, problems: [/no such manifest/] },
    { image: 'central/team/app:v1', outcome: 'complete' },
  ]);
});

void t.test('a manifest that is not what its tag says it is does not come in', async (t) => {
  const { central, site } = await started(t);
  central.addManifest('team/app', 'v1', '{"schemaVersion":1}', 'application/json');
  t.match(await warm(site, 'v1'), [{ outcome: 'failed', temporary: false, problems: [/no media type/] }]);
});

void t.test('with the upstream gone, what is here is complete of what was known', async (t) => {
  const { central, site } = await started(t, { rules: { tag: 0 as never } });
  central.addImage('team/app', 'v1', amd64);
  await warm(site, 'v1');
  await central.stop();
  t.match(await warm(site, 'v1'), [{ outcome: 'stale', cachedBlobs: 3, problems: [], temporary: true }]);
  t.match(await warm(site, 'v2'), [{ outcome: 'failed', temporary: true }]);
});

void t.test('no more than three transfers at a time, over all jobs', async (t) => {
  const { central, site } = await started(t);
  const images = ['one', 'two', 'three'].map((seed) =>
    createImage({ layers: [50_000, 50_001, 50_002], seed }),
  );
  for (const [at, image] of images.entries()) central.addImage('team/app', `v${at}`, image);
  const gate = Promise.withResolvers<void>();
  central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 100, until: gate.promise });
  const jobs = Promise.all(images.map((_, at) => warm(site, `v${at}`)));
  await eventually(() => central.requests('GET', 'blob') === 3 && site.blobs.fillsRunning === 3);
  // What clients ask for does not wait behind it.
  const other = central.addBlob('team/other', randomBlob(1000, 'client'));
  void site.worker().blob(repository('team/other'), digest(other.digest));
  await eventually(() => central.requests('GET', 'blob') === 4);
  gate.resolve();
  t.same(
    (await jobs).map(([result]) => result?.outcome),
    ['complete', 'complete', 'complete'],
  );
});

void t.test('nobody waits any more: fills under way go on, no new one starts', async (t) => {
  const { central, site } = await started(t);
  const image = createImage({ layers: [50_000, 50_001, 50_002, 50_003, 50_004], seed: 'left' });
  central.addImage('team/app', 'v1', image);
  const gate = Promise.withResolvers<void>();
  central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 100, until: gate.promise });
  const gone = new AbortController();
  const job = site.warmer.warm(jobOf('v1'), () => undefined, gone.signal);
  await eventually(() => central.requests('GET', 'blob') === 3);
  gone.abort();
  gate.resolve();
  t.match(await job, [{ outcome: 'stopped', fetchedBlobs: 3 }]);
  t.equal(central.requests('GET', 'blob'), 3);
  t.same(await site.partials(), []);
});

void t.test('progress is told while a blob comes in', async (t) => {
  const { central, site } = await started(t);
  const image = createImage({ layers: [1_000_000] });
  central.addImage('team/app', 'v1', image);
  const [layer] = image.layers;
  const gate = Promise.withResolvers<void>();
  central.on(
    { kind: 'blob', reference: layer?.digest ?? '' },
    { kind: 'stall', afterBytes: 500_000, until: gate.promise },
  );
  const seen: number[] = [];
  const job = warm(site, 'v1', undefined, (event) => {
    if (event.kind === 'progress' && event.digest === layer?.digest) seen.push(event.received);
  });
  await eventually(() => (seen.at(-1) ?? 0) > 400_000);
  gate.resolve();
  t.match(await job, [{ outcome: 'complete' }]);
  t.same(
    seen,
    [...seen].sort((a, b) => a - b),
  );
});

void t.test('more than the disk may hold is said, and ends', async (t) => {
  const { central, site } = await started(t, { maxBytes: 100_000 });
  central.addImage('team/app', 'big', createImage({ layers: [150_000] }));
  t.match(await warm(site, 'big'), [{ outcome: 'failed', problems: [/storage\.maxSize leaves room/] }]);
  central.addImage('team/app', 'many', createImage({ layers: [40_000, 40_001, 40_002, 40_003] }));
  t.match(await warm(site, 'many'), [{ outcome: 'failed', problems: [/storage\.maxSize/] }]);
});

async function started(t: Teardown, options?: SiteOptions): Promise<{ central: Central; site: CacheSite }> {
  const central = await startCentral();
  t.teardown(() => central.stop());
  return { central, site: await CacheSite.open(t, central, options) };
}

function jobOf(tag: string, platforms?: PlatformChoice): WarmJob {
  const image = { repository: repository('team/app'), reference: reference(tag) };
  return { images: [image], platforms, pin: false };
}

function warm(
  site: CacheSite,
  tag: string,
  platforms?: PlatformChoice,
  tell: (event: WarmEvent) => void = () => undefined,
): Promise<WarmedImage[]> {
  return site.warmer.warm(jobOf(tag, platforms), tell);
}

function platform(text: string): NonNullable<ReturnType<typeof parsePlatform>> {
  const parsed = parsePlatform(text);
  if (parsed === undefined) throw new Error(`not a platform: ${text}`);
  return parsed;
}

function choice(...texts: string[]): PlatformChoice {
  return texts.map(platform);
}

function digestsOf(image: ImageFixture): string[] {
  return image.blobs.map((blob) => blob.digest as string).sort();
}

function bytesOf(image: ImageFixture): number {
  return image.blobs.reduce((sum, { size }) => sum + size, 0);
}

function fetchedFrom(central: Central): string[] {
  return central
    .find({ method: 'GET', kind: 'blob' })
    .map((request) => request.reference ?? '')
    .sort();
}
