import t from 'tap';
import type { ManifestAnswer } from '../../../src/cache/keeper.ts';
import { seconds } from '../../../src/lib/brand.ts';
import { startCentral, type Central } from '../../support/central.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { createImage, createIndex, randomBlob, type ImageFixture } from '../../support/images.ts';
import { tempFolder, type Teardown } from '../../support/temp.ts';
import {
  bodyOf,
  CacheSite,
  digest,
  readAll,
  reference,
  repository,
  type SiteOptions,
} from '../cache-site.ts';

const APP = repository('team/app');

interface Scene {
  readonly central: Central;
  readonly clock: FakeClock;
  readonly site: CacheSite;
  readonly image: ImageFixture;
  readonly ask: (what?: string) => Promise<ManifestAnswer>;
}

async function scene(test: Teardown, options: SiteOptions = {}): Promise<Scene> {
  const central = await startCentral();
  test.teardown(() => central.stop());
  const image = createImage({ layers: [3000], seed: 1 });
  central.addImage('team/app', 'v1', image);
  const clock = new FakeClock();
  const site = await CacheSite.open(test, central, { clock, ...options });
  const worker = site.worker();
  return { central, clock, site, image, ask: (what = 'v1') => worker.manifest(APP, reference(what)) };
}

/** The revalidation asks over real sockets, so the fake clock must not reach the deadline before the answer. */
async function askAgain({ clock, ask }: Scene, after = 61_000): Promise<ManifestAnswer> {
  await clock.advance(after);
  return await ask();
}

void t.test('fresh: the second question costs the upstream nothing', async (t) => {
  const { central, ask, image } = await scene(t);
  t.match(await ask(), { kind: 'manifest', result: 'miss', digest: image.digest });
  central.forget();
  t.match(await ask(), { kind: 'manifest', result: 'hit', digest: image.digest });
  t.match(await ask(image.digest), { kind: 'manifest', result: 'hit' });
  t.equal(central.log.length, 0);
});

void t.test('stale and unmoved: one HEAD, no GET, and fresh again', async (t) => {
  const view = await scene(t);
  await view.ask();
  view.central.forget();
  t.match(await askAgain(view), { kind: 'manifest', result: 'revalidated' });
  t.same(
    view.central.log.map(({ method }) => method),
    ['HEAD'],
  );
  t.match(await view.ask(), { result: 'hit' });
  t.equal(view.central.log.length, 1);
});

void t.test('moved: the new manifest is fetched and served', async (t) => {
  const view = await scene(t);
  await view.ask();
  const next = createImage({ layers: [3000], seed: 2 });
  view.central.addImage('team/app', 'v1', next);
  t.match(await askAgain(view), { kind: 'manifest', digest: next.digest });
  t.match(await view.ask(), { result: 'hit', digest: next.digest });
  view.central.forget();
  view.central.moveTag('team/app', 'v1', view.image);
  t.match(await askAgain(view), { digest: view.image.digest, result: 'revalidated' });
  t.same(
    view.central.log.map(({ method }) => method),
    ['HEAD'],
    'moved back to what is here: no GET',
  );
});

void t.test('slow revalidation: stale at the deadline, and the answer comes in behind', async (t) => {
  const view = await scene(t);
  await view.ask();
  const answer = Promise.withResolvers<void>();
  view.central.on({ kind: 'manifest', method: 'HEAD' }, { kind: 'stall', until: answer.promise, times: 1 });
  await view.clock.advance(61_000);
  const asked = view.ask();
  await eventually(() => view.central.requests('HEAD', 'manifest') === 1);
  await view.clock.advance(1000);
  t.match(await asked, { kind: 'manifest', result: 'stale' });
  answer.resolve();
  await eventually(
    async () => (await view.ask()).kind === 'manifest' && view.central.requests('HEAD', 'manifest') === 1,
  );
  await eventually(async () => ((await view.ask()) as { result?: string }).result === 'hit');
});

for (const [what, fault] of [
  ['5xx', { kind: 'status', status: 502 }],
  ['429', { kind: 'status', status: 429, headers: { 'retry-after': '30' } }],
  ['a cut connection', { kind: 'cut' }],
] as const) {
  void t.test(`upstream with ${what}: stale is served, for staleIfError and not longer`, async (t) => {
    const view = await scene(t, { rules: { staleIfError: seconds(3600) } });
    await view.ask();
    for (const blob of view.image.blobs)
      await readAll(await bodyOf(view.site.worker(), 'team/app', blob.digest));
    await eventually(() => view.site.index.count === 3);
    view.central.on({}, fault);
    await view.clock.advance(61_000);
    const asked = view.ask();
    // Retries pause by the clock: move it on, but not to the deadline.
    await eventually(async () => (await Promise.race([asked, step(view)])) !== undefined);
    t.match(await asked, { kind: 'manifest', result: 'stale' });
    await view.clock.advance(3_600_000);
    const late = view.ask();
    await eventually(async () => (await Promise.race([late, step(view)])) !== undefined);
    t.match(await late, { kind: 'unavailable' });
  });
}

async function step({ clock }: Scene): Promise<undefined> {
  await clock.advance(20);
  return undefined;
}

void t.test('a silent upstream: a manifest that is not here is refused after ten seconds', async (t) => {
  const view = await scene(t);
  const answer = Promise.withResolvers<void>();
  view.central.on({ kind: 'manifest' }, { kind: 'stall', until: answer.promise });
  const asked = view.ask();
  await eventually(() => view.central.log.length === 1);
  await view.clock.advance(10_000);
  t.match(await asked, { kind: 'unavailable' });
  answer.resolve();
  await eventually(async () => (await view.ask()).kind === 'manifest');
  t.equal(view.central.requests('GET', 'manifest'), 1, 'the first question was answered behind');
});

void t.test('one question per throttle window', async (t) => {
  const view = await scene(t);
  await view.ask();
  view.central.on({}, { kind: 'status', status: 429, headers: { 'retry-after': '120' } });
  await askAgain(view);
  view.central.forget();
  for (let n = 0; n < 10; n += 1) await view.ask();
  t.equal(view.central.log.length, 0);
});

for (const status of [404, 401, 403]) {
  void t.test(`the upstream's ${status} is the truth: no stale, the tag is gone`, async (t) => {
    const view = await scene(t);
    await view.ask();
    const fault = view.central.on({ kind: 'manifest' }, { kind: 'status', status });
    t.match(await askAgain(view), { kind: 'unknown' });
    fault.remove();
    t.match(await view.ask(), { kind: 'unknown' }, 'remembered for a moment');
    t.match(await askAgain(view, 16_000), { kind: 'manifest', result: 'miss' });
  });
}

void t.test('absent tags are asked once per window, random ones do not grow anything', async (t) => {
  const view = await scene(t);
  for (let n = 0; n < 5; n += 1) t.match(await view.ask('nope'), { kind: 'unknown' });
  t.equal(view.central.requests('GET', 'manifest'), 1);
});

void t.test('a hundred questions at once are one question', async (t) => {
  const view = await scene(t);
  const [one, two] = [view.site.worker(), view.site.worker()];
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, n) => (n % 2 === 0 ? one : two).manifest(APP, reference('v1'))),
  );
  t.ok(answers.every((answer) => answer.kind === 'manifest'));
  t.equal(view.central.requests(undefined, 'manifest'), 1);
  t.equal(answers.filter((answer) => answer.kind === 'manifest' && answer.result === 'miss').length, 1);
  view.central.forget();
  await view.clock.advance(61_000);
  await Promise.all(
    Array.from({ length: 100 }, (_, n) => (n % 2 === 0 ? one : two).manifest(APP, reference('v1'))),
  );
  t.equal(view.central.requests('HEAD', 'manifest'), 1);
});

for (const [what, fault] of [
  ['bytes that are not the digest asked for', { kind: 'swap', content: Buffer.from('{"schemaVersion":2}') }],
  ['a wrong Docker-Content-Digest', { kind: 'wrongDigestHeader', digest: `sha256:${'0'.repeat(64)}` }],
  ['one bit wrong', { kind: 'corrupt', offset: 20 }],
] as const) {
  void t.test(`${what}: by digest and by tag refused, nothing kept, right again later`, async (t) => {
    const view = await scene(t);
    view.central.on({ kind: 'manifest' }, { ...fault, times: 2 });
    t.match(await view.ask(view.image.digest), { kind: /unavailable|invalid/ });
    t.match(await view.ask(), { kind: /unavailable|invalid/ });
    t.equal(view.site.index.count, 0);
    t.match(await view.ask(view.image.digest), { kind: 'manifest', digest: view.image.digest });
    t.match(await view.ask(), { kind: 'manifest', digest: view.image.digest });
  });
}

void t.test('manifests that break the rules are refused and not kept', async (t) => {
  const { central, site, ask } = await scene(t);
  const oci = 'application/vnd.oci.image.manifest.v1+json';
  const config = { digest: `sha256:${'a'.repeat(64)}`, size: 1 };
  central.addManifest(
    'team/app',
    'both',
    JSON.stringify({ mediaType: oci, config, layers: [], manifests: [] }),
    oci,
  );
  central.addManifest(
    'team/app',
    'liar',
    JSON.stringify({ mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] }),
    oci,
  );
  central.addManifest(
    'team/app',
    'huge',
    JSON.stringify({ config, layers: [], x: 'x'.repeat(5_000_000) }),
    oci,
  );
  central.addManifest('team/app', 'junk', '<html>', oci);
  for (const tag of ['both', 'liar', 'huge', 'junk'])
    t.match(await ask(tag), { kind: 'invalid', reason: /./ }, tag);
  t.equal(site.index.count, 0);
});

void t.test(
  'of an index only what is asked for is fetched, and its children need no other permission',
  async (t) => {
    const { central, site, ask } = await scene(t);
    const images = [
      createImage({ layers: [3000], seed: 3 }),
      createImage({ layers: [3000], seed: 4, platform: { os: 'linux', architecture: 'arm64' } }),
    ];
    const index = createIndex(images);
    central.addImage('team/app', 'multi', index);
    t.match(await ask('multi'), { kind: 'manifest', digest: index.digest });
    t.equal(central.requests('GET', 'manifest'), 1);
    const child = images[0]?.digest ?? '';
    t.match(await ask(child), { kind: 'manifest', digest: child });
    t.equal(central.requests('GET', 'manifest'), 2);
    t.ok(await site.links.has(APP, digest(images[1]?.digest ?? '')), 'the other is known to belong here');
  },
);

void t.test('a manifest is shown for its own repository only', async (t) => {
  const { site, image, ask } = await scene(t);
  await ask();
  const answer = await site.worker().manifest(repository('other/app'), reference(image.digest));
  t.equal(answer.kind, 'unknown');
});

void t.test('with the upstream known to be away, an image that is not whole is not begun', async (t) => {
  const central = await startCentral();
  t.teardown(() => central.stop());
  const whole = createImage({ layers: [3000, 4000], seed: 5 });
  const half = createImage({ layers: [3000, 5000], seed: 6 });
  central.addImage('team/app', 'whole', whole);
  central.addImage('team/app', 'half', half);
  const site = await CacheSite.open(t, central);
  const worker = site.worker();
  for (const tag of ['whole', 'half']) await worker.manifest(APP, reference(tag));
  const blobs = [...whole.blobs, ...half.blobs.slice(0, -1)];
  for (const blob of blobs) await readAll(await bodyOf(worker, 'team/app', blob.digest));
  await eventually(async () =>
    (await Promise.all(blobs.map((blob) => site.stored(digest(blob.digest))))).every(Boolean),
  );
  await central.stop();
  await worker.blob(APP, digest(randomBlob(1, 99).digest));
  await eventually(() => !site.upstream.available);
  t.match(await worker.manifest(APP, reference('whole')), { kind: 'manifest' });
  t.match(await worker.manifest(APP, reference('half')), { kind: 'unavailable' });
  t.match(await worker.manifest(APP, reference(half.digest)), { kind: 'unavailable' });
  await central.start();
  await eventually(() => site.upstream.available);
  t.match(await worker.manifest(APP, reference('half')), { kind: 'manifest' });
});

void t.test('with lost metadata an image is still there by digest, from its files', async (t) => {
  const central = await startCentral();
  t.teardown(() => central.stop());
  const image = createImage({ layers: [3000], seed: 7 });
  central.addImage('team/app', 'v1', image);
  const folder = tempFolder(t, 'lost');
  const before = await CacheSite.open(t, central, { folder });
  await before.worker().manifest(APP, reference('v1'));
  for (const blob of image.blobs) await readAll(await bodyOf(before.worker(), 'team/app', blob.digest));
  await eventually(() => before.index.count === 3);
  await before.close();
  const { rm } = await import('node:fs/promises');
  await rm(before.layout.meta, { recursive: true });
  await central.stop();
  const after = await CacheSite.open(t, central, { folder });
  t.match(await after.worker().manifest(APP, reference(image.digest)), {
    kind: 'manifest',
    digest: image.digest,
  });
  const { content } = await readAll(await bodyOf(after.worker(), 'team/app', image.layers[0]?.digest ?? ''));
  t.ok(content.equals(image.layers[0]?.bytes ?? Buffer.alloc(0)), 'and so are its blobs, which it names');
});

void t.test('a clock that was set back makes nothing fresh for longer', async (t) => {
  const view = await scene(t);
  await view.ask();
  view.clock.jumpWall(view.clock.now() - 2 * 24 * 3600 * 1000);
  view.central.forget();
  t.match(await view.ask(), { result: 'revalidated' });
  t.equal(view.central.requests('HEAD', 'manifest'), 1);
});

void t.test(
  'a tag is dropped for good: a question from before the drop does not bring it back',
  async (t) => {
    const { central, site, image, ask } = await scene(t);
    const gate = Promise.withResolvers<void>();
    central.on({ kind: 'manifest' }, { kind: 'stall', afterBytes: 10, until: gate.promise, times: 1 });
    const before = ask();
    await eventually(() => central.log.some(({ bodyBytes }) => bodyBytes > 0));
    const moved = createImage({ layers: [3000], seed: 2 });
    central.addImage('team/app', 'v1', moved);
    const session = site.core.connect(() => undefined);
    const dropped = session.pushed({
      kind: 'manifest',
      repository: APP,
      references: [reference('v1')],
      gone: false,
    });
    gate.resolve();
    t.match(await before, { kind: 'manifest', digest: image.digest }, 'who asked before gets what was then');
    await dropped;
    t.match(await ask(), { kind: 'manifest', digest: moved.digest, result: 'miss' });
    t.match(await ask(), { kind: 'manifest', digest: moved.digest, result: 'hit' });
  },
);
