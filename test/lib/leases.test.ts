import t from 'tap';
import { ms, seconds } from '../../src/lib/brand.ts';
import { askOncePerSite, COLD_PATIENCE, FREE_LEASES, LEASE_LIFE } from '../../src/lib/leases.ts';
import { MemorySite } from '../cache/site/memory-site.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Edges that keep what they found out in one place. */
function edges(patience = COLD_PATIENCE) {
  const clock = new FakeClock();
  const site = new MemorySite(clock);
  const state: { kept: string | undefined; asked: string[] } = { kept: undefined, asked: [] };
  const edge = (name: string, answer: Promise<string | undefined>): Promise<string> =>
    askOncePerSite(site, clock, {
      question: 'q',
      patience,
      look: async () => state.kept,
      ask: async () => {
        state.asked.push(name);
        const found = await answer;
        state.kept = found;
        return found ?? 'nothing';
      },
    });
  return { clock, site, state, edge };
}

void t.test('one asks, the others take what it has kept', async (t) => {
  const { clock, site, state, edge } = edges();
  const answer = Promise.withResolvers<string>();
  const first = edge('a', answer.promise);
  const others = ['b', 'c'].map((name) => edge(name, Promise.resolve(`from ${name}`)));
  await clock.advance(500);
  t.same(state.asked, ['a']);
  answer.resolve('found');
  t.equal(await first, 'found');
  await clock.advance(100);
  t.same(await Promise.all(others), ['found', 'found']);
  t.same(state.asked, ['a']);
  t.equal(site.held, 0, 'every lease was given back');
});

void t.test('who comes after the holder has gone looks before it asks', async (t) => {
  const { state, edge } = edges();
  t.equal(await edge('a', Promise.resolve('found')), 'found');
  t.equal(await edge('b', Promise.resolve('other')), 'found');
  t.same(state.asked, ['a']);
});

void t.test('a holder that finds nothing, or fails, makes way for the next', async (t) => {
  const { clock, site, state, edge } = edges();
  const answer = Promise.withResolvers<string>();
  const first = edge('a', answer.promise);
  const second = edge('b', Promise.resolve('found'));
  await clock.advance(100);
  answer.reject(new Error('upstream'));
  await t.rejects(first, { message: 'upstream' });
  await clock.advance(100);
  t.equal(await second, 'found');
  t.same(state.asked, ['a', 'b']);
  t.equal(site.held, 0);
});

void t.test('a holder that died: the next asks when its lease has ended, not before', async (t) => {
  const { clock, site, state, edge } = edges();
  t.ok(await site.take('q'), 'by an edge that dies now');
  const waiting = edge('b', Promise.resolve('found'));
  await clock.advance(LEASE_LIFE - 100);
  t.same(state.asked, []);
  await clock.advance(200);
  t.same(state.asked, ['b']);
  t.equal(await waiting, 'found');
});

void t.test('a slow holder is waited for as long as patience lasts, and no longer', async (t) => {
  const { clock, state, edge } = edges(seconds(1));
  const slow = Promise.withResolvers<string>();
  const first = edge('a', slow.promise);
  const second = edge('b', Promise.resolve('found'));
  await clock.advance(999);
  t.same(state.asked, ['a']);
  await clock.advance(1);
  t.same(state.asked, ['a', 'b']);
  t.equal(await second, 'found');
  slow.resolve('late');
  t.equal(await first, 'late');
});

void t.test('without patience there is one look', async (t) => {
  const { clock, site, state, edge } = edges(ms(0));
  await site.take('q');
  t.equal(await edge('b', Promise.resolve('found')), 'found');
  t.same(state.asked, ['b']);
  t.equal(clock.sleeping, 0);
});

void t.test('the lease is held until the result is where the others look', async (t) => {
  const clock = new FakeClock();
  const site = new MemorySite(clock);
  const kept = Promise.withResolvers<void>();
  const answer = await askOncePerSite(site, clock, {
    question: 'q',
    patience: COLD_PATIENCE,
    look: async () => undefined,
    ask: async (holdUntil) => {
      holdUntil(kept.promise);
      return 'at once';
    },
  });
  t.equal(answer, 'at once');
  t.equal(site.held, 1);
  kept.reject(new Error('the store refused'));
  await clock.advance(0);
  t.equal(site.held, 0);
});

void t.test('alone, everybody has the lease', async (t) => {
  t.ok(await FREE_LEASES.take('q'));
  t.ok(await FREE_LEASES.take('q'));
});
