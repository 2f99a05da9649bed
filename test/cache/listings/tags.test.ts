import t from 'tap';
import { ms, MiB, seconds } from '../../../src/lib/brand.ts';
import { FIRST_PAGE } from '../../../src/oci/page.ts';
import { eventually } from '../../support/eventually.ts';
import { CacheSite, reference, repository } from '../cache-site.ts';
import { APP, entriesOf, image, questions, scene, settled, TAGS } from './scene.ts';

const MINUTE = 61_000;

void t.test('fresh: one question per window, however many ask', async (t) => {
  const { central, clock, tags, site } = await scene(t);
  const other = questions(site);
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => (n % 2 ? tags() : other.tags())));
  t.same(entriesOf(answers[0] ?? { kind: 'unknown' }), TAGS);
  const results = answers.map((answer) => answer.kind === 'listing' && answer.result);
  t.same(
    [results.filter((r) => r === 'miss').length, results.filter((r) => r === 'collapsed').length],
    [1, 49],
  );
  t.match(await tags(), { kind: 'listing', result: 'hit', next: undefined });
  t.equal(central.requests(), 1);
  central.addImage('team/app', 'f', image);
  await clock.advance(MINUTE);
  t.same(entriesOf(await tags()), [...TAGS, 'f']);
  t.equal(central.requests(), 2);
});

void t.test('pages are asked as they are asked for, until the whole list is here', async (t) => {
  const { central, tags } = await scene(t);
  const first = await tags({ n: 2 });
  t.same(entriesOf(first), ['a', 'b']);
  t.match(first, { next: { n: 2, last: 'b' } });
  t.match(await tags({ n: 2, last: 'd' }), { next: undefined });
  t.same(
    central.log.map(({ url }) => url),
    ['/v2/team/app/tags/list?n=2', '/v2/team/app/tags/list?n=2&last=d'],
  );
  await tags();
  central.forget();
  t.same(entriesOf(await tags({ n: 3, last: 'a' })), ['b', 'c', 'd']);
  t.same(entriesOf(await tags({ last: 'e' })), []);
  t.same(entriesOf(await tags({ n: 0 })), []);
  t.equal(central.requests(), 0, 'cut out of what is here');
});

void t.test('a registry that ignores n sends its list once', async (t) => {
  const { central, tags } = await scene(t);
  // And in no order, as distribution before 3.0 has them.
  const content = Buffer.from(JSON.stringify({ name: 'team/app', tags: ['c', 'e', 'a', 'd', 'b'] }));
  central.on({ kind: 'tags' }, { kind: 'swap', content });
  central.on({ kind: 'tags' }, { kind: 'headers', headers: { link: undefined } });
  const seen: unknown[] = [];
  let page: { n: number; last?: string } | undefined = { n: 2 };
  while (page !== undefined) {
    const answer = await tags(page);
    seen.push(entriesOf(answer));
    const next: { last: string | undefined } | undefined =
      answer.kind === 'listing' ? (answer.next as { last: string | undefined } | undefined) : undefined;
    page = next?.last === undefined ? undefined : { n: 2, last: next.last };
  }
  t.same(seen, [['a', 'b'], ['c', 'd'], ['e']]);
  t.equal(central.requests(), 1);
  t.same(entriesOf(await tags({ n: 2, last: 'bb' })), ['c', 'd'], 'a tag that went away meanwhile');
  t.same(entriesOf(await tags({ last: 'd' })), ['e']);
});

void t.test('the cursor of a registry that pages by its own means', async (t) => {
  const { central, tags } = await scene(t);
  const link = '</v2/team/app/tags/list?n=2&next_page=g%3D%3D>; rel="next"';
  central.on({ kind: 'tags' }, { kind: 'headers', headers: { link }, times: 1 });
  const first = await tags({ n: 2 });
  t.match(first, { next: { n: 2, last: undefined, cursor: 'n=2&next_page=g%3D%3D' } });
  await tags({ n: 2, cursor: 'n=2&next_page=g%3D%3D' });
  t.equal(central.log.at(-1)?.url, '/v2/team/app/tags/list?n=2&next_page=g%3D%3D');
});

void t.test('a list of a million entries is read to the bound and not further', async (t) => {
  const { central, tags, site } = await scene(t);
  const names = Array.from({ length: 1_000_000 }, (_, index) => `"tag-${String(index).padStart(8, '0')}"`);
  const content = Buffer.from(`{"name":"team/app","tags":[${names.join(',')}]}`);
  t.ok(content.byteLength > 14 * MiB);
  // Slow enough that the central sees the edge hang up before the sockets' buffers have swallowed the rest.
  central.bytesPerSecond = 40 * MiB;
  central.on({ kind: 'tags' }, { kind: 'swap', content });
  const refused = await tags();
  t.equal(refused.kind, 'invalid');
  t.match(refused.kind === 'invalid' && refused.reason, /over 8388608 bytes; ask for it in pages, with n/);
  await eventually(() => central.running === 0);
  t.ok(central.bytesSent() < 14 * MiB, `${central.bytesSent()} bytes were taken`);
  t.equal(central.requests(), 1, 'and not asked again by itself');
  t.match(site.happened, [/^refused tags central\/team\/app: /]);
  central.heal();
  t.equal((await tags()).kind, 'listing');
});

for (const [what, headers, content] of [
  ['a page for people', { 'content-type': 'text/html' }, '<html>log in</html>'],
  ['half a document', {}, '{"tags":["a"'],
  ['another document', {}, '{"repositories":["a"]}'],
  ['a Link without a way on', { link: '<http://elsewhere.corp/>; rel="next"' }, '{"tags":["a"]}'],
  ['a Link that is none', { link: 'next' }, '{"tags":["a"]}'],
] as const) {
  void t.test(`${what}: refused, and the last good list is shown`, async (t) => {
    const { central, clock, tags } = await scene(t);
    const spoil = (): void => {
      central.on({ kind: 'tags' }, { kind: 'swap', content: Buffer.from(content) });
      central.on({ kind: 'tags' }, { kind: 'headers', headers: { link: undefined, ...headers } });
    };
    spoil();
    t.match(await tags(), { kind: 'invalid', reason: /^the upstream / });
    central.heal();
    await tags();
    await clock.advance(MINUTE);
    spoil();
    const answer = await tags();
    t.match(answer, { kind: 'listing', result: 'stale' });
    t.same(entriesOf(answer), TAGS);
  });
}

void t.test('names that nobody could ask for are left out', async (t) => {
  const { central, tags } = await scene(t);
  const content = Buffer.from(JSON.stringify({ tags: ['a', 'b\u0000', '\u001b[31m', '../x', 7, 'b'] }));
  central.on({ kind: 'tags' }, { kind: 'swap', content });
  t.same(entriesOf(await tags()), ['a', 'b']);
});

for (const [what, fault] of [
  ['5xx', { kind: 'status', status: 502 }],
  ['429', { kind: 'status', status: 429, headers: { 'retry-after': '30' } }],
  ['a cut connection', { kind: 'cut' }],
] as const) {
  void t.test(`upstream with ${what}: stale is shown, for staleIfError and not longer`, async (t) => {
    const { central, clock, tags } = await scene(t, { rules: { staleIfError: seconds(3600) } });
    await tags();
    central.on({}, fault);
    await clock.advance(MINUTE);
    t.match(await settled(clock, tags()), { kind: 'listing', result: 'stale' });
    const part = await settled(clock, tags({ n: 2, last: 'b' }));
    t.match(part, { kind: 'listing', result: 'stale', next: { last: 'd' } });
    t.same(entriesOf(part), ['c', 'd']);
    await clock.advance(3_600_000);
    t.match(await settled(clock, tags()), { kind: 'unavailable' });
  });
}

void t.test('after a restart, what was pulled is listed while the upstream is away', async (t) => {
  const { central, clock, site, worker, tags } = await scene(t, { rules: { staleIfError: seconds(3600) } });
  for (const tag of ['c', 'a']) await worker.manifest(APP, reference(tag));
  await tags();
  await site.close();
  const again = await CacheSite.open(t, central, {
    clock,
    folder: site.folder,
    rules: { staleIfError: seconds(3600) },
  });
  central.on({}, { kind: 'cut' });
  const after = questions(again);
  const answer = await settled(clock, after.tags());
  t.match(answer, { kind: 'listing', result: 'stale', next: undefined });
  t.same(entriesOf(answer), ['a', 'c']);
  t.match(await settled(clock, after.tags({ n: 1 })), { next: { n: 1, last: 'a' } });
  t.same(entriesOf(await settled(clock, after.tags({ n: 1, last: 'b' }))), ['c']);
  const none = after.worker.tags(repository('team/none'), FIRST_PAGE);
  t.match(await settled(clock, none), { kind: 'unavailable' });
  await clock.advance(3_600_000);
  t.match(await settled(clock, after.tags()), { kind: 'unavailable' }, 'as long as the tags themselves');
});

void t.test('a slow upstream: stale at the deadline, and the answer comes in behind', async (t) => {
  const { central, clock, tags } = await scene(t);
  await tags();
  const answer = Promise.withResolvers<void>();
  central.on({ kind: 'tags' }, { kind: 'stall', until: answer.promise, times: 1 });
  central.addImage('team/app', 'f', image);
  await clock.advance(MINUTE);
  const asked = tags();
  await eventually(() => central.requests() === 2);
  await clock.advance(1000);
  t.match(await asked, { kind: 'listing', result: 'stale' });
  answer.resolve();
  await eventually(async () => JSON.stringify(entriesOf(await tags())) === JSON.stringify([...TAGS, 'f']));
  t.equal(central.requests(), 2);
});

void t.test('a silent upstream: refused after ten seconds', async (t) => {
  const { central, clock, tags } = await scene(t);
  central.on({ kind: 'tags' }, { kind: 'stall' });
  const asked = tags();
  await eventually(() => central.requests() === 1);
  await clock.advance(ms(10_000));
  t.match(await asked, { kind: 'unavailable', reason: /in time/ });
});

for (const status of [404, 401, 403]) {
  void t.test(`the upstream's ${status} is the truth: no stale, remembered for a moment`, async (t) => {
    const { central, clock, tags } = await scene(t);
    await tags();
    const fault = central.on({ kind: 'tags' }, { kind: 'status', status });
    await clock.advance(MINUTE);
    t.same(await tags(), { kind: 'unknown' });
    fault.remove();
    central.forget();
    t.same(await tags(), { kind: 'unknown' });
    t.equal(central.requests(), 0);
    central.on({ kind: 'tags' }, { kind: 'cut' });
    await clock.advance(16_000);
    t.match(await settled(clock, tags()), { kind: 'unavailable' }, 'the list from before is gone');
  });
}

void t.test('forgotten after a push, and only that repository', async (t) => {
  const { central, site, worker, tags } = await scene(t);
  central.addImage('team/app-2', 'x', image);
  const beside = repository('team/app-2');
  await tags();
  await tags({ n: 1 });
  await worker.tags(beside, FIRST_PAGE);
  site.core.parts.listings.forget(APP);
  t.match(await tags(), { result: 'miss' });
  t.match(await worker.tags(beside, FIRST_PAGE), { result: 'hit' });
});

void t.test('after a push, what was asked before it is neither joined nor kept', async (t) => {
  const { central, site, tags } = await scene(t);
  central.latencyMs = 300;
  const before = tags();
  await eventually(() => central.requests() === 1);
  site.core.parts.listings.forget(APP);
  t.match(await tags(), { kind: 'listing', result: 'miss' });
  t.match(await before, { kind: 'listing' });
  t.equal(central.requests(), 2, 'asked anew while the first was still on its way');
  t.match(await tags(), { kind: 'listing', result: 'hit' });

  site.core.parts.listings.forget(APP);
  const late = tags();
  await eventually(() => central.requests() === 3);
  site.core.parts.listings.forgetAll();
  await late;
  t.match(await tags(), { result: 'miss' }, 'an answer from before is not kept');
});

void t.test('after the first push, that there was no list is forgotten', async (t) => {
  const { central, site, worker } = await scene(t);
  const NEW = repository('team/new');
  t.match(await worker.tags(NEW, FIRST_PAGE), { kind: 'unknown' });
  central.addImage('team/new', 'v1', image);
  t.match(await worker.tags(NEW, FIRST_PAGE), { kind: 'unknown' }, 'remembered');
  site.core.parts.listings.forget(NEW);
  t.same(entriesOf(await worker.tags(NEW, FIRST_PAGE)), ['v1']);
});
