import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { RateBuckets } from '../../lib/limits/rate-buckets.ts';
import type { Usage } from '../../lib/limits/usage.ts';
import { addressKey, callerKey } from '../caller-key.ts';
import type { Caller } from '../caller.ts';
import { TooManyRequests } from '../refusals.ts';
import type { Gone, RequestLimits } from '../request-limits.ts';

export interface RateLimitsConfig {
  readonly requestsPerSecond: number;
  readonly burst: number;
}

export interface RateLimitsParts {
  readonly clock: Clock;
  /** What was used here, for those who count the same callers elsewhere. */
  readonly tell: (usage: Usage) => void;
  /** A request waits for its turn. */
  readonly queued: (limit: 'address' | 'identity') => void;
}

/** Longer than this nobody is kept waiting: the client is told when to come again. */
const LONGEST_WAIT = seconds(2);
const NO_WAIT = ms(0);
/** Requests that wait, in one worker. Each holds its connection. */
const MAX_WAITING = 1024;
const MAX_KEYS = 20_000;
const EXCHANGE_INTERVAL = ms(100);
/** What other edges have used can hold up a caller here for so long: a Redis that lies must not shut anybody out. */
const MAX_DEBT_SECONDS = 1;
const MAX_RETRY_AFTER_SECONDS = 60;

/**
 * The rate of requests of each address (of each /64) and of each identity, as one worker knows it. It decides at once and alone;
 * what callers have used is exchanged behind it, so that all workers and edges together hold about one rate.
 */
export class RateLimits implements RequestLimits {
  readonly #parts: RateLimitsParts;
  readonly #buckets: RateBuckets;
  /** How many wait, by whom they are counted. */
  readonly #waiting = new Map<string, number>();
  #waitingInAll = 0;
  #exchanging = false;
  /** Made once: in a flood, most of what a refusal costs is the stack of its error. */
  readonly #refusals = new Map<string, TooManyRequests>();

  constructor(config: RateLimitsConfig, parts: RateLimitsParts) {
    this.#parts = parts;
    this.#buckets = new RateBuckets(parts.clock, rateOf(config), MAX_KEYS);
  }

  get waiting(): number {
    return this.#waitingInAll;
  }

  get keys(): number {
    return this.#buckets.size;
  }

  /** In force at once; what callers have used stays used. */
  change(config: RateLimitsConfig): void {
    this.#buckets.change(rateOf(config));
  }

  arrive(address: string, gone?: Gone): Promise<void> | undefined {
    return this.#enter('address', addressKey(address), gone);
  }

  admit(caller: Caller, gone?: Gone): Promise<void> | undefined {
    return caller.identity === undefined ? undefined : this.#enter('identity', callerKey(caller), gone);
  }

  /** What others have used of the same rates: the workers beside this one, or other edges of the site. */
  used(usage: Usage, by: 'workers' | 'edges'): void {
    const { perSecond, burst } = this.#buckets.rate;
    const most = by === 'edges' ? burst + perSecond * MAX_DEBT_SECONDS : Infinity;
    for (const [key, uses] of usage) this.#buckets.add(key, uses, most);
    this.#exchange();
  }

  #enter(limit: 'address' | 'identity', key: string, gone: Gone | undefined): Promise<void> | undefined {
    let wait = this.#buckets.take(key, NO_WAIT);
    if (!this.#exchanging) this.#exchange();
    if (wait === 0) return undefined;
    if (wait <= LONGEST_WAIT && this.#mayWait(key)) wait = this.#buckets.take(key, LONGEST_WAIT);
    else throw this.#refusal(limit, wait);
    this.#parts.queued(limit);
    return this.#wait(limit, key, { wait, gone });
  }

  /** The more keys wait, the fewer of each: one that floods leaves room for the others. */
  #mayWait(key: string): boolean {
    if (this.#waitingInAll >= 2 * MAX_WAITING) return false;
    const own = this.#waiting.get(key) ?? 0;
    const keys = this.#waiting.size + (own === 0 ? 1 : 0);
    return own < MAX_WAITING / keys;
  }

  async #wait(
    limit: 'address' | 'identity',
    key: string,
    { wait, gone }: { readonly wait: Milliseconds; readonly gone: Gone | undefined },
  ): Promise<void> {
    this.#count(key, 1);
    try {
      await this.#parts.clock.sleep(wait, gone?.());
    } catch {
      // Only the client's end ends the sleep early. Nobody sees this answer; the one after it gets the turn.
      this.#buckets.giveBack(key);
      throw this.#refusal(limit, wait);
    } finally {
      this.#count(key, -1);
    }
  }

  #refusal(limit: 'address' | 'identity', wait: Milliseconds): TooManyRequests {
    const retryAfter = Math.min(Math.max(1, Math.ceil(wait / 1000)), MAX_RETRY_AFTER_SECONDS);
    const known = this.#refusals.get(`${limit} ${retryAfter}`);
    if (known !== undefined) return known;
    const who = limit === 'address' ? 'this address' : 'this user';
    const refusal = new TooManyRequests(`too many requests from ${who}: slow down`, retryAfter, limit);
    this.#refusals.set(`${limit} ${retryAfter}`, refusal);
    return refusal;
  }

  #count(key: string, by: 1 | -1): void {
    this.#waitingInAll += by;
    const waiting = (this.#waiting.get(key) ?? 0) + by;
    if (waiting === 0) this.#waiting.delete(key);
    else this.#waiting.set(key, waiting);
  }

  /** As long as anybody has used anything that is not given back. */
  #exchange(): void {
    if (this.#exchanging) return;
    this.#exchanging = true;
    void this.#exchangeWhileUsed();
  }

  async #exchangeWhileUsed(): Promise<void> {
    const { clock, tell } = this.#parts;
    while (this.#buckets.size > 0) {
      await clock.sleep(EXCHANGE_INTERVAL);
      const usage = this.#buckets.untold(EXCHANGE_INTERVAL);
      if (usage.length > 0) tell(usage);
      this.#buckets.forgetFull();
    }
    this.#exchanging = false;
  }
}

function rateOf({ requestsPerSecond, burst }: RateLimitsConfig): { perSecond: number; burst: number } {
  return { perSecond: requestsPerSecond, burst };
}
