import { LRUCache } from 'lru-cache';
import type { Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';

const MAX_KEYS = 10_000;

export interface AttemptRules {
  readonly most: number;
  readonly within: Milliseconds;
}

interface Span {
  readonly since: Milliseconds;
  taken: number;
}

/** How often each caller may try within a span of time. What is given back did not count. */
export class Attempts {
  readonly #clock: Clock;
  readonly #rules: AttemptRules;
  readonly #spans = new LRUCache<string, Span>({ max: MAX_KEYS });

  constructor(clock: Clock, rules: AttemptRules) {
    this.#clock = clock;
    this.#rules = rules;
  }

  /** Counts one. Returns the whole seconds to wait when it is one too many. */
  take(key: string): number | undefined {
    const now = this.#clock.monotonic();
    const { most, within } = this.#rules;
    let span = this.#spans.get(key);
    if (span === undefined || now - span.since >= within) {
      span = { since: now, taken: 0 };
      this.#spans.set(key, span);
    }
    if (span.taken >= most) return Math.ceil((span.since + within - now) / 1000);
    span.taken += 1;
    return undefined;
  }

  giveBack(key: string): void {
    const span = this.#spans.get(key);
    if (span !== undefined && span.taken > 0) span.taken -= 1;
  }
}
