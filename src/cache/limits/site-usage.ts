import { LRUCache } from 'lru-cache';
import { ms, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { RateBuckets, type Rate } from '../../lib/limits/rate-buckets.ts';
import { WINDOW_SECONDS, type Count, type SharedCounters } from '../../lib/limits/shared-counters.ts';
import type { Usage } from '../../lib/limits/usage.ts';

export interface SiteUsageParts {
  readonly counters: SharedCounters;
  readonly clock: Clock;
  /** What other edges have used since the last word on it. */
  readonly tell: (usage: Usage) => void;
}

/** What is known of one counter. */
interface Seen {
  /** Added by this edge in the window. */
  own: number;
  /** Added by others in the window, as far as it was told. */
  others: number;
  endsAt: Milliseconds;
}

const INTERVAL = ms(200);
const MAX_KEYS = 10_000;
/** Asked in one go: those that come first; the others have their turn in the next. */
const MAX_AT_ONCE = 256;
/** The part of a rate that is taken for used elsewhere at most: counters that somebody else writes to must not shut anybody out. */
const MOST_ELSEWHERE = 0.9;
const WINDOW = ms(WINDOW_SECONDS * 1000);

/** Adds what callers use at this edge to the counters of the site, and learns from them what they use at the others. Behind all requests. */
export class SiteUsage {
  readonly #parts: SiteUsageParts;
  readonly #seen = new LRUCache<string, Seen>({ max: MAX_KEYS });
  /** What was taken for used elsewhere. */
  readonly #elsewhere: RateBuckets;
  #rate: Rate;
  #pending = new Map<string, number>();
  #running = false;

  constructor(rate: Rate, parts: SiteUsageParts) {
    this.#parts = parts;
    this.#rate = rate;
    this.#elsewhere = new RateBuckets(parts.clock, elsewhere(rate), MAX_KEYS);
  }

  change(rate: Rate): void {
    this.#rate = rate;
    this.#elsewhere.change(elsewhere(rate));
  }

  add(usage: Usage): void {
    for (const [key, uses] of usage) {
      if (this.#pending.size >= MAX_KEYS && !this.#pending.has(key)) continue;
      this.#pending.set(key, (this.#pending.get(key) ?? 0) + uses);
    }
    if (!this.#running) void this.#exchange();
  }

  async #exchange(): Promise<void> {
    this.#running = true;
    while (this.#pending.size > 0) {
      await this.#parts.clock.sleep(INTERVAL);
      const asked = [...this.#pending].slice(0, MAX_AT_ONCE);
      for (const [key] of asked) this.#pending.delete(key);
      const told = await Promise.all(asked.map(([key, uses]) => this.#ask(key, uses)));
      const usage = told.flatMap((word) => (word === undefined ? [] : [word]));
      if (usage.length > 0) this.#parts.tell(usage);
      this.#elsewhere.forgetFull();
    }
    this.#running = false;
  }

  async #ask(key: string, uses: number): Promise<readonly [string, number] | undefined> {
    const count = await this.#parts.counters.add(key, uses);
    const news = Math.min(this.#newsOf(key, uses, count), Math.floor(this.#elsewhere.left(key)));
    if (!(news >= 1)) return undefined;
    this.#elsewhere.add(key, news);
    return [key, news];
  }

  /** What others have added that was not known. */
  #newsOf(key: string, uses: number, { used, endsIn }: Count): number {
    const endsAt = ms(this.#parts.clock.monotonic() + endsIn);
    const before = this.#seen.get(key);
    // Each window ends its whole length after the one before.
    const same = before !== undefined && Math.abs(endsAt - before.endsAt) < WINDOW / 2;
    const own = (same ? before.own : 0) + uses;
    const others = Math.max(0, used - own);
    this.#seen.set(key, { own, others, endsAt });
    if (same) return others - before.others;
    // Others may have begun the window long ago: what their rate has given back since then is no news.
    const elapsed = Math.max(0, WINDOW - endsIn);
    return others - (this.#rate.perSecond * elapsed) / 1000;
  }
}

function elsewhere({ perSecond, burst }: Rate): Rate {
  return { perSecond: perSecond * MOST_ELSEWHERE, burst };
}
