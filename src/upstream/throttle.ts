import { ms, seconds, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import type { Quota } from './upstream.ts';

const DEFAULT_WINDOW = seconds(5);
/** `Retry-After: 0` is no licence to hammer. */
const MIN_WINDOW = seconds(1);
const MAX_WINDOW = seconds(3600);

/** `Retry-After` in seconds or as an HTTP-date (RFC 9110 §10.2.3): 5 s without one, at least 1 s, at most 1 h. */
export function parseRetryAfter(header: string | undefined, now: Milliseconds): Milliseconds {
  const text = header?.trim() ?? '';
  const wanted = /^\d+$/.test(text) ? Number(text) * 1000 : httpDate(text) - now;
  return Number.isNaN(wanted) ? DEFAULT_WINDOW : ms(Math.min(Math.max(wanted, MIN_WINDOW), MAX_WINDOW));
}

function httpDate(text: string): number {
  return /^[A-Z][a-z]{2}.{5,40}$/.test(text) ? Date.parse(text) : Number.NaN;
}

/**
 * Docker Hub's `ratelimit-limit` and `ratelimit-remaining`, each a number and the seconds of its window: `100;w=21600`.
 * `undefined` unless both are so, to the letter.
 */
export function parseQuota(limit: string | undefined, remaining: string | undefined): Quota | undefined {
  const quota = { limit: countOf(limit), remaining: countOf(remaining) };
  return Number.isNaN(quota.limit) || Number.isNaN(quota.remaining) ? undefined : quota;
}

function countOf(header = ''): number {
  return Number(/^(\d{1,9})(?:;w=\d{1,9})?$/.exec(header)?.[1] ?? Number.NaN);
}

/**
 * The time that an upstream asked for with 429. Nobody asks while it runs; after it, one question goes ahead alone, and
 * its answer lets the others follow or begins the next window.
 */
export class ThrottleWindow {
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #ending = new AbortController();
  #state: 'open' | 'closed' | 'probing' = 'open';
  #until = ms(0);
  #watching = false;

  constructor(clock: Clock, onChange: () => void) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  get running(): boolean {
    return this.#state === 'closed' && this.#clock.monotonic() < this.#until;
  }

  /** How long to wait before it is worth asking. */
  get remaining(): Milliseconds {
    return ms(Math.max(this.#until - this.#clock.monotonic(), MIN_WINDOW));
  }

  /**
   * `undefined`: do not ask. Otherwise ask, and report how it ended: `answered` false means that nothing was learned
   * (the asker went away). Whoever gets a 429 calls {@link begin} first.
   */
  admit(): ((answered: boolean) => void) | undefined {
    if (this.#state === 'open') return () => undefined;
    if (this.#state === 'probing' || this.running) return undefined;
    this.#state = 'probing';
    return (answered) => {
      if (this.#state === 'probing') this.#state = answered ? 'open' : 'closed';
    };
  }

  begin(duration: Milliseconds): void {
    this.#state = 'closed';
    this.#until = ms(Math.max(this.#until, this.#clock.monotonic() + duration));
    if (this.#watching) return;
    this.#watching = true;
    this.#onChange();
    void this.#watch();
  }

  close(): void {
    this.#ending.abort();
  }

  async #watch(): Promise<void> {
    while (this.running && !this.#ending.signal.aborted) {
      const left = ms(this.#until - this.#clock.monotonic());
      // Only the abort rejects, and the loop's condition sees it.
      await this.#clock.sleep(left, this.#ending.signal).catch(() => undefined);
    }
    this.#watching = false;
    if (!this.#ending.signal.aborted) this.#onChange();
  }
}
