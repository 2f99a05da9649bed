import { createHmac } from 'node:crypto';
import { RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible';
import { ms } from '../../lib/brand.ts';
import { WINDOW_SECONDS, type Count, type SharedCounters } from '../../lib/limits/shared-counters.ts';
import type { RedisConnection } from './redis-connection.ts';

export interface RedisCountersOptions {
  /** In front of every key. */
  readonly prefix: string;
  /** For the names of counters alone: Redis is not to learn who comes here. */
  readonly key: Uint8Array;
}

/** Counts only: what is too much is decided where requests are answered. */
const POINTS = Number.MAX_SAFE_INTEGER;

/**
 * Counters in Redis, one key each, which ends by itself with its window. While Redis is away the insurance counts for
 * this edge alone.
 */
export class RedisCounters implements SharedCounters {
  readonly #limiter: RateLimiterRedis;
  readonly #key: Uint8Array;

  constructor(connection: RedisConnection, { prefix, key }: RedisCountersOptions) {
    this.#key = key;
    const window = { keyPrefix: `${prefix}rate`, points: POINTS, duration: WINDOW_SECONDS };
    this.#limiter = new RateLimiterRedis({
      ...window,
      storeClient: { rlflxIncr: (words: readonly string[]) => increase(connection, words) },
      insuranceLimiter: new RateLimiterMemory(window),
    });
  }

  async add(key: string, uses: number): Promise<Count> {
    const { consumedPoints, msBeforeNext } = await this.#limiter.penalty(this.#nameOf(key), uses);
    return { used: consumedPoints, endsIn: ms(msBeforeNext) };
  }

  #nameOf(key: string): string {
    return createHmac('sha256', this.#key).update(key).digest('base64url');
  }
}

/**
 * What the library asks its client for is a script; this is the same in one transaction, since the edge's user in Redis
 * need not be allowed to run scripts.
 * @throws {RedisError}
 */
async function increase(
  connection: RedisConnection,
  [name = '', uses = '0', seconds = '1']: readonly string[],
): Promise<[used: number, ttlMs: number]> {
  return await connection.run('rate', async (client) => {
    const results = await client
      .multi()
      .set(name, 0, 'EX', Number(seconds), 'NX')
      .incrby(name, Number(uses))
      .pttl(name)
      .exec();
    const [, used, ttl] = (results ?? []).map(([error, value]) => {
      if (error !== null) throw error;
      return Number(value);
    });
    return [used ?? 0, ttl ?? 0];
  });
}
