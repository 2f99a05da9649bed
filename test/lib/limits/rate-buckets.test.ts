import { array, assert, asyncProperty, boolean, constantFrom, integer, nat, record } from 'fast-check';
import t from 'tap';
import { ms, seconds } from '../../../src/lib/brand.ts';
import { RateBuckets } from '../../../src/lib/limits/rate-buckets.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const NOW = ms(0);
const KEYS = 100;

void t.test('in no time t do more than burst + rate × t go on, whoever comes when', async (t) => {
  const step = record({
    afterMs: nat(300),
    times: nat(12),
    longestMs: constantFrom(0, 50, 2000),
  });
  await assert(
    asyncProperty(
      record({ perSecond: integer({ min: 1, max: 100 }), burst: integer({ min: 1, max: 20 }) }),
      array(record({ step, givesBack: boolean() }), { maxLength: 40 }),
      async (rate, steps) => {
        const clock = new FakeClock();
        const buckets = new RateBuckets(clock, rate, KEYS);
        const turns: number[] = [];
        for (const { step, givesBack } of steps) {
          await clock.advance(step.afterMs);
          for (let n = 0; n < step.times; n += 1) {
            const wait = buckets.take('a', ms(step.longestMs));
            if (wait <= step.longestMs) turns.push(clock.monotonic() + wait);
          }
          const last = turns.at(-1);
          if (!givesBack || last === undefined || last <= clock.monotonic()) continue;
          turns.pop();
          buckets.giveBack('a');
        }
        turns.sort((a, b) => a - b);
        for (const [from, start] of turns.entries())
          for (const [to, end] of turns.entries()) {
            if (to < from) continue;
            const most = rate.burst + (rate.perSecond * (end - start)) / 1000;
            if (to - from + 1 > most + 1e-6) return false;
          }
        return true;
      },
    ),
    { numRuns: 60 },
  );
  t.pass();
});

void t.test('who has used the burst gets the rate, in turn', async (t) => {
  const clock = new FakeClock();
  const buckets = new RateBuckets(clock, { perSecond: 10, burst: 3 }, KEYS);
  const take = (longest = NOW) => Math.round(buckets.take('a', longest));
  t.same([take(), take(), take()], [0, 0, 0]);
  t.equal(take(), 100, 'nothing is taken: the wait would be that long');
  t.equal(take(), 100);
  t.same([take(seconds(2)), take(seconds(2))], [100, 200]);
  t.equal(buckets.take('b', NOW), 0, 'another key has a burst of its own');
  await clock.advance(1000);
  t.equal(Math.round(buckets.left('a')), 3, 'no more than the burst comes back');
});

void t.test('what is quiet is forgotten, and never are there more keys than may be', async (t) => {
  const clock = new FakeClock();
  const buckets = new RateBuckets(clock, { perSecond: 10, burst: 100 }, KEYS);
  for (let n = 0; n < 65_000; n += 1) buckets.take(`key ${n}`, NOW);
  t.equal(buckets.size, KEYS);
  buckets.forgetFull();
  t.equal(buckets.size, KEYS);
  await clock.advance(100);
  buckets.take('new', NOW);
  buckets.forgetFull();
  t.equal(buckets.size, 1);
});

void t.test('others are told of keys that use much, or have used much', async (t) => {
  const clock = new FakeClock();
  const buckets = new RateBuckets(clock, { perSecond: 100, burst: 1000 }, KEYS);
  const span = seconds(1);
  const take = (key: string, times: number): void => {
    for (let n = 0; n < times; n += 1) buckets.take(key, NOW);
  };
  take('quick', 10);
  take('slow', 9);
  t.same(buckets.untold(span), [['quick', 10]]);
  t.same(buckets.untold(span), [], 'once');
  take('much', 100);
  t.same(buckets.untold(span), [['much', 100]]);
  take('much', 1);
  take('slow', 2);
  t.same(buckets.untold(span), [['much', 1]], 'of each use, as long as its burst is not whole again');
});

void t.test('what others have used counts, and no further than it is said to', async (t) => {
  const clock = new FakeClock();
  const buckets = new RateBuckets(clock, { perSecond: 10, burst: 100 }, KEYS);
  buckets.add('a', 250);
  t.equal(buckets.left('a'), -150);
  t.equal(Math.round(buckets.take('a', NOW)), 15_100);
  buckets.add('b', 1_000_000, 110);
  t.equal(buckets.left('b'), -10);
  buckets.add('a', 10, 110);
  t.equal(buckets.left('a'), -150, 'the bound takes nothing away');
  t.same(buckets.untold(seconds(1)), [], 'and is not told on');
});

void t.test('another rate holds at once, and what was used stays used', async (t) => {
  const clock = new FakeClock();
  const buckets = new RateBuckets(clock, { perSecond: 10, burst: 10 }, KEYS);
  for (let n = 0; n < 10; n += 1) buckets.take('a', NOW);
  buckets.change({ perSecond: 100, burst: 20 });
  t.equal(buckets.left('a'), 10);
  buckets.change({ perSecond: 1, burst: 5 });
  t.equal(buckets.left('a'), -5);
  await clock.advance(1000);
  t.equal(buckets.left('a'), -4);
});
