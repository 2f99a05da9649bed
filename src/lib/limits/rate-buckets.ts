import { LRUCache } from 'lru-cache';
import { ms, type Milliseconds } from '../brand.ts';
import type { Clock } from '../clock.ts';
import type { Usage } from './usage.ts';

export interface Rate {
  readonly perSecond: number;
  /** What may be used at once by a key that has been quiet. */
  readonly burst: number;
}

interface Bucket {
  /** What was used and time has not given back; more than the burst for those who wait, and for what others have used. */
  level: number;
  at: Milliseconds;
  /** Since others were told last. */
  untold: number;
}

/** Others are told of a key that uses this part of the rate, or has used this part of its burst. Most keys never come there. */
const NOTABLE = 0.1;

/**
 * A rate for each of many keys. No more than `burst + rate × t` of one key go on in any time t. A key that has not been
 * heard of for so long that its burst is whole again is forgotten, and so are the least recently used over `maxKeys`:
 * what many keys can do is bounded elsewhere, by what one key alone may do.
 */
export class RateBuckets {
  readonly #clock: Clock;
  readonly #buckets: LRUCache<string, Bucket>;
  /** With something untold. */
  #used: string[] = [];
  #rate: Rate;

  constructor(clock: Clock, rate: Rate, maxKeys: number) {
    this.#clock = clock;
    this.#rate = rate;
    this.#buckets = new LRUCache({ max: maxKeys });
  }

  get size(): number {
    return this.#buckets.size;
  }

  get rate(): Rate {
    return this.#rate;
  }

  /** From here on; what was used stays used. */
  change(rate: Rate): void {
    for (const bucket of this.#buckets.values()) this.#drain(bucket);
    this.#rate = rate;
  }

  /**
   * Takes one, in turn: the answer is how long the taker has to wait for it. More than `longest` means that nothing was
   * taken.
   */
  take(key: string, longest: Milliseconds): Milliseconds {
    const bucket = this.#bucket(key);
    const { perSecond, burst } = this.#rate;
    const over = bucket.level + 1 - burst;
    const wait = over <= 0 ? ms(0) : ms((over / perSecond) * 1000);
    if (wait > longest) return wait;
    bucket.level += 1;
    if (bucket.untold === 0) this.#used.push(key);
    bucket.untold += 1;
    return wait;
  }

  /** Who waited for it has gone. */
  giveBack(key: string): void {
    const bucket = this.#buckets.peek(key);
    if (bucket === undefined) return;
    bucket.level = Math.max(0, bucket.level - 1);
    if (bucket.untold > 1) bucket.untold -= 1;
  }

  /** Used without asking, such as elsewhere. `most`: no further than to this level. */
  add(key: string, uses: number, most = Infinity): void {
    const bucket = this.#bucket(key);
    bucket.level = Math.max(bucket.level, Math.min(bucket.level + uses, most));
  }

  /** What is left of the burst; negative while it is overdrawn. */
  left(key: string): number {
    const bucket = this.#buckets.peek(key);
    if (bucket !== undefined) this.#drain(bucket);
    return this.#rate.burst - (bucket?.level ?? 0);
  }

  /** What notable keys have used in the `span` since the last call. What others used is not told on. */
  untold(span: Milliseconds): Usage {
    const usage: [string, number][] = [];
    const { perSecond, burst } = this.#rate;
    for (const key of this.#used) {
      const bucket = this.#buckets.peek(key);
      if (bucket === undefined) continue;
      const uses = bucket.untold;
      bucket.untold = 0;
      if (uses >= (perSecond * NOTABLE * span) / 1000 || bucket.level >= burst * NOTABLE)
        usage.push([key, uses]);
    }
    this.#used = [];
    return usage;
  }

  /** Forgets keys whose burst is whole again, as far as they are the ones that were used the longest time ago. */
  forgetFull(): void {
    for (const key of this.#buckets.rkeys()) {
      if (this.left(key) < this.#rate.burst) return;
      this.#buckets.delete(key);
    }
  }

  #bucket(key: string): Bucket {
    const known = this.#buckets.get(key);
    if (known !== undefined) {
      this.#drain(known);
      return known;
    }
    const bucket = { level: 0, at: this.#clock.monotonic(), untold: 0 };
    this.#buckets.set(key, bucket);
    return bucket;
  }

  #drain(bucket: Bucket): void {
    const now = this.#clock.monotonic();
    bucket.level = Math.max(0, bucket.level - ((now - bucket.at) * this.#rate.perSecond) / 1000);
    bucket.at = now;
  }
}
