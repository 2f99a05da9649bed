import t from 'tap';
import type { ManifestAnswer } from '../../../src/cache/keeper.ts';
import { LEASE_LIFE } from '../../../src/lib/leases.ts';
import { startCentral, type Central, type CentralOptions } from '../../support/central.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { createImage, type ImageFixture } from '../../support/images.ts';
import type { Teardown } from '../../support/temp.ts';
import { reference, repository } from '../cache-site.ts';
import { twoEdges, type TestEdge, type TestSite } from './two-edges.ts';

const APP = repository('team/app');
const KEY = 'central/team/app:v1';
const QUESTION = `manifest ${KEY}`;
const V1 = reference('v1');

interface Scene extends TestSite {
  readonly central: Central;
  readonly clock: FakeClock;
  readonly image: ImageFixture;
}

async function scene(t: Teardown, options: CentralOptions = {}): Promise<Scene> {
  const clock = new FakeClock();
  const central = await startCentral({ clock, ...options });
  t.teardown(() => central.stop());
  const image = createImage({ layers: [3000], seed: 1 });
  central.addImage('team/app', 'v1', image);
  return Object.assign(await twoEdges(t, central, clock), { central, clock, image });
}

function ask({ cache }: TestEdge, what = V1): Promise<ManifestAnswer> {
  return cache.worker().manifest(APP, what);
}

/** The answers come over real sockets, the looks of whoever waits by the clock: it moves on until all is answered. */
async function answersOf<T>({ clock }: Scene, asked: Promise<T>): Promise<T> {
  let over = false;
  const end = asked.finally(() => {
    over = true;
  });
  end.catch(() => undefined);
  await eventually(async () => {
    if (!over) await clock.advance(1);
    return over;
  });
  return await end;
}

function herd({ a, b }: Scene, count: number, what = V1): Promise<ManifestAnswer[]> {
  return Promise.all(Array.from({ length: count }, (_, n) => ask(n % 2 === 0 ? a : b, what)));
}

void t.test('a cold tag: a hundred clients over two edges are one question', async (t) => {
  const view = await scene(t);
  const { central, image, site } = view;
  const answers = await answersOf(view, herd(view, 100));
  for (const answer of answers) t.match(answer, { kind: 'manifest', digest: image.digest });
  t.equal(central.requests(undefined, 'manifest'), 1);
  await answersOf(view, herd(view, 10));
  t.equal(central.requests(undefined, 'manifest'), 1, 'and fresh on both');
  t.equal(site.held, 0);
});

void t.test('a stale tag: one HEAD for both, and fresh on both again', async (t) => {
  const view = await scene(t);
  const { central, clock } = view;
  for (let round = 0; round < 3; round += 1) {
    await answersOf(view, herd(view, 20));
    await clock.advance(61_000);
  }
  t.same(
    central.log.map(({ method }) => method),
    ['GET', 'HEAD', 'HEAD'],
  );
});

void t.test('what one edge was told a moment ago the other need not ask', async (t) => {
  const view = await scene(t);
  const { central, a, b, clock } = view;
  await ask(a);
  await ask(b);
  await clock.advance(61_000);
  t.match(await ask(a), { result: 'revalidated' });
  await clock.advance(30_000);
  central.forget();
  t.match(await ask(b), { kind: 'manifest' });
  t.equal(central.log.length, 0);
  await clock.advance(31_000);
  await answersOf(view, ask(b));
  t.equal(central.requests('HEAD', 'manifest'), 1, 'and it is not fresh for longer than that');
});

void t.test(
  'a cold digest: one question, and the other edge has it with all that a worker needs',
  async (t) => {
    const view = await scene(t);
    const { central, image, b } = view;
    const answers = await answersOf(view, herd(view, 20, reference(image.digest)));
    for (const answer of answers) t.match(answer, { kind: 'manifest', digest: image.digest });
    t.equal(central.requests('GET', 'manifest'), 1);
    t.equal(b.cache.index.count, 1, 'it has its place in the order of eviction');
    const [blob] = image.blobs;
    t.ok(blob && (await b.cache.links.has(APP, blob.digest)), 'and its blobs are known to belong here');
  },
);

void t.test('one token for both', async (t) => {
  const view = await scene(t, { auth: { mode: 'token', tokenTtlSeconds: 300 } });
  const { central, clock, image, a, b } = view;
  const scope = 'repository:team/app:pull';
  const [blob] = image.blobs;
  // Different questions, so that each edge needs a token for its own.
  await answersOf(view, Promise.all([ask(a), ask(b, reference(image.digest))]));
  t.equal(central.door?.tokenRequests(scope), 1);
  await clock.advance(240_000);
  await answersOf(view, herd(view, 10));
  await answersOf(
    view,
    b.cache.core.connect(() => undefined).blobSize({ repository: APP, digest: blob?.digest ?? image.digest }),
  );
  await eventually(() => central.door?.tokenRequests(scope) === 2);
  central.door?.revokeAll();
  await clock.advance(61_000);
  await answersOf(view, herd(view, 10));
  t.equal(central.door?.tokenRequests(scope), 3, 'of a rejected token a new one, once');
});

void t.test('the holder dies: the other asks when its lease has ended', async (t) => {
  const view = await scene(t);
  const { central, clock, site, b } = view;
  await site.take(QUESTION);
  const asked = ask(b);
  await clock.advance(LEASE_LIFE - 100);
  t.equal(central.log.length, 0);
  t.match(await answersOf(view, asked), { kind: 'manifest', result: 'miss' });
  t.equal(central.requests('GET', 'manifest'), 1);
});

void t.test(
  'a slow holder: what is known is served at the deadline, and the other asks for itself',
  async (t) => {
    const view = await scene(t);
    const { central, clock, a, b } = view;
    await answersOf(view, herd(view, 2));
    await clock.advance(61_000);
    const slow = Promise.withResolvers<void>();
    central.on({ kind: 'manifest', method: 'HEAD' }, { kind: 'stall', until: slow.promise, times: 1 });
    const first = ask(a);
    await eventually(() => central.requests('HEAD', 'manifest') === 1);
    const { sleeping } = clock;
    const second = ask(b);
    // For the client's answer, for the deadline, and until its next look.
    await eventually(() => clock.sleeping === sleeping + 3);
    await clock.advance(1000);
    t.match(await first, { kind: 'manifest', result: 'stale' });
    t.match(await second, { kind: 'manifest', result: 'stale' });
    await eventually(() => central.requests('HEAD', 'manifest') === 2);
    slow.resolve();
    await eventually(async () => ((await ask(b)) as { result?: string }).result === 'hit');
  },
);

void t.test('nothing shared can be reached: each asks for itself, at once', async (t) => {
  const view = await scene(t);
  const { central, clock, a, b } = view;
  view.away = true;
  const before = clock.monotonic();
  const [one, two] = await Promise.all([ask(a), ask(b)]);
  t.match([one, two], [{ result: 'miss' }, { result: 'miss' }]);
  t.equal(clock.monotonic(), before);
  t.equal(central.requests('GET', 'manifest'), 2);
});

void t.test('it goes away while another edge is waited for: the bound still holds', async (t) => {
  const view = await scene(t);
  const { central, site, b } = view;
  await site.take(QUESTION);
  const asked = ask(b);
  await view.clock.advance(500);
  t.equal(central.log.length, 0);
  view.away = true;
  t.match(await answersOf(view, asked), { kind: 'manifest' });
});

void t.test('a pushed tag is new on both edges', async (t) => {
  const view = await scene(t);
  const { central, clock, a, b } = view;
  await answersOf(view, herd(view, 2));
  const next = createImage({ layers: [3000], seed: 2 });
  t.match(await ask(b, reference('v2')), { kind: 'unknown' });
  t.match(await ask(b, reference(next.digest)), { kind: 'unknown' });
  central.addImage('team/app', 'v1', next);
  central.addImage('team/app', 'v2', next);
  t.match(await ask(b), { result: 'hit', digest: view.image.digest }, 'before the push is told');
  for (const tag of ['v1', 'v2']) {
    const { tag: parsed } = reference(tag) as { tag: Parameters<typeof a.cache.manifestCache.dropTag>[1] };
    await a.cache.manifestCache.dropTag(APP, parsed);
  }
  await clock.advance(0);
  for (const edge of [b, a]) {
    t.match(await answersOf(view, ask(edge)), { digest: next.digest });
    t.match(await answersOf(view, ask(edge, reference('v2'))), { digest: next.digest });
    t.match(await answersOf(view, ask(edge, reference(next.digest))), { digest: next.digest });
  }
});

void t.test('an answer from before a push is not kept after it', async (t) => {
  const view = await scene(t);
  const { central, clock, a, b } = view;
  const slow = Promise.withResolvers<void>();
  central.on({ kind: 'manifest' }, { kind: 'stall', until: slow.promise, times: 1 });
  const early = ask(b);
  await eventually(() => central.requests('GET', 'manifest') === 1);
  const next = createImage({ layers: [3000], seed: 2 });
  central.addImage('team/app', 'v1', next);
  if (V1.kind !== 'tag') throw new Error('a tag');
  await a.cache.manifestCache.dropTag(APP, V1.tag);
  await clock.advance(0);
  slow.resolve();
  t.match(await answersOf(view, early), { kind: 'manifest' });
  for (const edge of [b, a]) t.match(await answersOf(view, ask(edge)), { digest: next.digest });
});

void t.test('a purge reaches the other edge, and what is shared', async (t) => {
  const view = await scene(t);
  const { central, clock, a, b } = view;
  await answersOf(view, herd(view, 2));
  central.forget();
  // Not known here any more, but there and in what is shared.
  await a.cache.store.delete('tags', KEY);
  if (V1.kind !== 'tag') throw new Error('a tag');
  const selector = { kind: 'tag', repository: APP, tag: V1.tag } as const;
  await a.cache.inventory.purge(selector);
  await a.siblings.announce({ kind: 'purge', selector });
  await eventually(() => b.cache.index.count === 0);
  t.same(await b.cache.inventory.images(), []);
  await clock.advance(0);
  t.match(await answersOf(view, ask(b)), { result: 'miss' });
  t.equal(central.requests('GET', 'manifest'), 1);

  // Nor there, but still in what is shared.
  for (const { cache } of [a, b]) await cache.store.delete('tags', KEY);
  await a.cache.inventory.purge(selector);
  await answersOf(view, ask(b));
  t.equal(central.requests('GET', 'manifest'), 2);
});

void t.test('an edge that may have missed something asks before it trusts a tag again', async (t) => {
  const view = await scene(t);
  const { central, clock, a, b } = view;
  await answersOf(view, herd(view, 2));
  b.channel.connected = false;
  const next = createImage({ layers: [3000], seed: 2 });
  central.addImage('team/app', 'v1', next);
  if (V1.kind !== 'tag') throw new Error('a tag');
  await a.cache.manifestCache.dropTag(APP, V1.tag);
  t.match(await ask(b), { result: 'hit', digest: view.image.digest });
  b.channel.connected = true;
  b.channel.rejoin();
  await clock.advance(0);
  await eventually(async () => {
    const answer = await answersOf(view, ask(b));
    return answer.kind === 'manifest' && answer.digest === next.digest;
  });
  await central.stop();
  b.channel.rejoin();
  await clock.advance(0);
  t.match(await answersOf(view, ask(b)), { kind: 'manifest', result: /stale|hit/ }, 'doubted, not lost');
});
