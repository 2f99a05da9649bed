import { LRUCache } from 'lru-cache';
import type { Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';

const MAX_KINDS = 10_000;

/**
 * Lets each kind of message through once per interval: a fault that hits every request is told once a minute. Bounded: the kind
 * that is longest unheard of is forgotten first.
 */
export class Seldom {
  readonly #clock: Clock;
  readonly #interval: Milliseconds;
  readonly #last = new LRUCache<string, { at: Milliseconds; left: number }>({ max: MAX_KINDS });

  constructor(clock: Clock, interval: Milliseconds) {
    this.#clock = clock;
    this.#interval = interval;
  }

  /** `tell` gets the number of messages of this kind that were left out since the last. */
  run(kind: string, tell: (leftOut: number) => void): void {
    const now = this.#clock.monotonic();
    const last = this.#last.get(kind);
    if (last !== undefined && now - last.at < this.#interval) {
      last.left += 1;
      return;
    }
    this.#last.set(kind, { at: now, left: 0 });
    tell(last?.left ?? 0);
  }
}
