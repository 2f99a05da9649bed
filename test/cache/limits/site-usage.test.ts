import t from 'tap';
import { SiteUsage } from '../../../src/cache/limits/site-usage.ts';
import { ms } from '../../../src/lib/brand.ts';
import { WINDOW_SECONDS, type Count, type SharedCounters } from '../../../src/lib/limits/shared-counters.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const A = '10.0.0.1';
const RATE = { perSecond: 100, burst: 1000 };
const WINDOW_MS = WINDOW_SECONDS * 1000;

/** Counts as Redis would, on a clock that stands still; and lies, when it is told to. */
class Counters implements SharedCounters {
  lie: number | undefined;
  readonly #clock: FakeClock;
  #window = { used: 0, endsAt: 0 };

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  async add(_key: string, uses: number): Promise<Count> {
    const now = this.#clock.monotonic();
    if (now >= this.#window.endsAt) this.#window = { used: 0, endsAt: now + WINDOW_MS };
    this.#window.used += uses;
    return { used: this.lie ?? this.#window.used, endsIn: ms(this.#window.endsAt - now) };
  }
}

function twoEdges() {
  const clock = new FakeClock();
  const counters = new Counters(clock);
  const told = { one: [] as number[], other: [] as number[] };
  const edge = (to: number[]): SiteUsage =>
    new SiteUsage(RATE, {
      counters,
      clock,
      tell: (usage) => {
        for (const [key, uses] of usage) if (key === A) to.push(Math.round(uses));
      },
    });
  return { clock, counters, told, one: edge(told.one), other: edge(told.other) };
}

void t.test('what is used at one edge is told to the other, once', async (t) => {
  const { clock, told, one, other } = twoEdges();
  one.add([[A, 300]]);
  await clock.advance(200);
  t.same(told.one, [], 'what one has used oneself is no news');
  other.add([[A, 10]]);
  await clock.advance(200);
  t.same(told.other, [280], '300, of which the rate has given back 20 since');
  other.add([[A, 10]]);
  await clock.advance(200);
  t.same(told.other, [280]);
  one.add([[A, 5]]);
  one.add([[A, 5]]);
  await clock.advance(200);
  t.same(told.one, [20]);
  other.add([[A, 1]]);
  await clock.advance(200);
  t.same(told.other, [280, 10]);
  t.equal(clock.sleeping, 0, 'nobody asks when there is nothing to tell');
});

void t.test('a new window begins from nothing', async (t) => {
  const { clock, told, one, other } = twoEdges();
  one.add([[A, 500]]);
  other.add([[A, 1]]);
  await clock.advance(WINDOW_MS + 1000);
  told.other.length = 0;
  one.add([[A, 50]]);
  await clock.advance(200);
  other.add([[A, 1]]);
  await clock.advance(200);
  t.same(told.other, [30], '50, of which 20 are given back');
});

void t.test('counters that lie take no more than nine tenths of the rate', async (t) => {
  const { clock, counters, told, one } = twoEdges();
  for (let second = 1; second <= 30; second += 1) {
    counters.lie = second * 1_000_000;
    one.add([[A, 1]]);
    await clock.advance(1000);
  }
  const sum = told.one.reduce((total, uses) => total + uses, 0);
  t.ok(sum <= RATE.burst + 30 * 0.9 * RATE.perSecond, `${sum} in 30 s`);
  t.ok(sum > RATE.burst);
  counters.lie = Number.NaN;
  const before = told.one.length;
  one.add([[A, 1]]);
  await clock.advance(1000);
  t.equal(told.one.length, before);
});
