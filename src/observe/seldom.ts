import type { Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';

/** Lets each kind of message through once per interval: a fault that hits every request is told once a minute. */
export class Seldom {
  readonly #clock: Clock;
  readonly #interval: Milliseconds;
  readonly #last = new Map<string, { at: Milliseconds; left: number }>();

  constructor(clock: Clock, interval: Milliseconds) {
    this.#clock = clock;
    this.#interval = interval;
  }

  /** `tell` gets the number of messages of this kind that were left out since the last. Kinds are few and fixed. */
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
