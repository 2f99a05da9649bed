import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';

const FIRST_WINDOW = seconds(1);
const LONGEST_WINDOW = seconds(5);

/**
 * After a call that got no answer, nobody asks for a window; then one call alone tries. So a Redis that stands still
 * costs one wait per window, not one per call.
 */
export class Breaker {
  readonly #clock: Clock;
  #opened: { until: Milliseconds; window: Milliseconds; probing: boolean } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get closed(): boolean {
    return this.#opened === undefined;
  }

  /** Whether to ask now; whoever is let through says how it ended. */
  admit(): boolean {
    if (this.#opened === undefined) return true;
    if (this.#opened.probing || this.#clock.monotonic() < this.#opened.until) return false;
    this.#opened.probing = true;
    return true;
  }

  succeeded(): void {
    this.#opened = undefined;
  }

  /** Calls that were under way together fail together: they open one window. */
  failed(): void {
    if (this.#opened !== undefined && !this.#opened.probing) return;
    const window =
      this.#opened === undefined ? FIRST_WINDOW : ms(Math.min(2 * this.#opened.window, LONGEST_WINDOW));
    this.#opened = { until: ms(this.#clock.monotonic() + window), window, probing: false };
  }
}
