import { createHmac, hkdfSync } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { attempt } from '../../lib/attempt.ts';
import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';

const MAX_REMEMBERED = 50_000;
/** Clocks of two edges may differ by so much; a record from further ahead is not believed. */
const CLOCK_SKEW = seconds(5);

/** That the upstream let a caller read a repository. Times are on the monotonic clock. */
export interface Allowed {
  /** Of the upstream's word. */
  readonly since: Milliseconds;
  /** By when what the caller showed has ended. */
  readonly until: Milliseconds;
  readonly identified: boolean;
}

/**
 * Where the edges of a site tell each other of verdicts: sealed, and cleared away when they end. The disk is no such place: each
 * pull comes with a token of its own.
 */
export interface VerdictStore {
  get(key: string): Promise<Uint8Array | undefined>;
  /** @param expiresAt on the wall clock. */
  put(key: string, value: Uint8Array, expiresAt: Milliseconds): Promise<void>;
  delete(key: string): Promise<void>;
}

export const NO_VERDICT_STORE: VerdictStore = {
  get: async () => undefined,
  put: async () => undefined,
  delete: async () => undefined,
};

export interface VerdictRecordsParts {
  readonly clock: Clock;
  readonly store: VerdictStore;
  /** 32 bytes that are not in the store, the same on all edges of a site. */
  readonly secret: Uint8Array;
  readonly storeFailed: (error: unknown) => void;
}

/** The upstreams' yeses. A caller is known by the HMAC of what they show: neither memory nor store holds that itself. */
export class VerdictRecords {
  readonly #parts: VerdictRecordsParts;
  readonly #key: Buffer;
  readonly #allowed = new LRUCache<string, Allowed>({ max: MAX_REMEMBERED });

  constructor(parts: VerdictRecordsParts) {
    this.#parts = parts;
    this.#key = Buffer.from(hkdfSync('sha256', parts.secret, '', 'pierhead verdicts: callers', 32));
  }

  /** What stands for a caller; the same on all edges of a site. */
  callerOf(authorization: string | undefined): string {
    if (authorization === undefined) return 'anybody';
    return createHmac('sha256', this.#key).update(authorization).digest('base64url');
  }

  /** The latest that is known; the other edges are looked to when what is here is older than `fresh`. */
  async get(key: string, fresh: Milliseconds): Promise<Allowed | undefined> {
    const { clock, store } = this.#parts;
    const here = this.#alive(this.#allowed.get(key));
    if (here !== undefined && clock.monotonic() - here.since < fresh) return here;
    const found = await this.#attempt(async () => {
      const kept = await store.get(key);
      return kept && this.#alive(decode(kept, clock));
    });
    if (found === undefined || (here !== undefined && here.since >= found.since)) return here;
    this.#allowed.set(key, found);
    return found;
  }

  /** Nobody waits for the store: it may be slow or broken. */
  put(key: string, allowed: Allowed, keepFor: Milliseconds): void {
    const { clock, store } = this.#parts;
    this.#allowed.set(key, allowed);
    const ahead = clock.now() - clock.monotonic();
    const since = allowed.since + ahead;
    const until = Number.isFinite(allowed.until) ? allowed.until + ahead : null;
    const value = Buffer.from(JSON.stringify({ since, until, identified: allowed.identified }));
    void this.#attempt(() => store.put(key, value, ms(Math.min(since + keepFor, until ?? Infinity))));
  }

  async delete(key: string): Promise<void> {
    this.#allowed.delete(key);
    await this.#attempt(() => this.#parts.store.delete(key));
  }

  #alive(allowed: Allowed | undefined): Allowed | undefined {
    return allowed !== undefined && this.#parts.clock.monotonic() < allowed.until ? allowed : undefined;
  }

  #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    return attempt(work, this.#parts.storeFailed);
  }
}

function decode(value: Uint8Array, clock: Clock): Allowed | undefined {
  const { since, until, identified } = JSON.parse(Buffer.from(value).toString()) as Record<string, unknown>;
  if (typeof since !== 'number' || typeof identified !== 'boolean') return undefined;
  const now = clock.now();
  if (since > now + CLOCK_SKEW) return undefined;
  const toMonotonic = (time: number): Milliseconds => ms(time - now + clock.monotonic());
  return {
    since: toMonotonic(Math.min(since, now)),
    until: typeof until === 'number' ? toMonotonic(until) : ms(Infinity),
    identified,
  };
}
