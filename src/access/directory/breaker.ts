import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';

const FIRST_PAUSE = seconds(1);
const LONGEST_PAUSE = seconds(30);

export interface BreakerParts {
  readonly clock: Clock;
  /** Asks the server for something small; rejects when it does not answer. */
  readonly probe: () => Promise<unknown>;
  /** Told once per change, the first word included. */
  readonly changed: (up: boolean, reason: string | undefined) => void;
}

/**
 * After one failure nobody waits for that server any more: a person who logs in has no time for a second timeout. A probe
 * behind the scenes asks it at once, then after 1 s, growing to 30 s, and its first answer lets everybody ask again.
 */
export class Breaker {
  readonly #parts: BreakerParts;
  #state: 'unknown' | 'up' | 'down' = 'unknown';
  readonly #closed = new AbortController();

  constructor(parts: BreakerParts) {
    this.#parts = parts;
  }

  /** Whether it makes sense to ask. */
  get up(): boolean {
    return this.#state !== 'down';
  }

  succeeded(): void {
    if (this.#state !== 'up' && !this.#closed.signal.aborted) this.#parts.changed(true, undefined);
    this.#state = 'up';
  }

  failed(reason: string): void {
    if (this.#state === 'down' || this.#closed.signal.aborted) return;
    this.#state = 'down';
    this.#parts.changed(false, reason);
    void this.#probeUntilUp(this.#closed.signal);
  }

  close(): void {
    this.#closed.abort();
  }

  async #probeUntilUp(closed: AbortSignal): Promise<void> {
    const { clock, probe } = this.#parts;
    for (let pause = ms(0); !closed.aborted && !this.up; pause = longer(pause)) {
      // A sleep rejects only when it is aborted, which the condition sees.
      if (pause > 0) await clock.sleep(pause, closed).catch(() => undefined);
      if (closed.aborted || this.up) return;
      const answered = await probe().then(
        () => true,
        () => false,
      );
      if (answered) this.succeeded();
    }
  }
}

function longer(pause: Milliseconds): Milliseconds {
  return pause === 0 ? FIRST_PAUSE : ms(Math.min(pause * 2, LONGEST_PAUSE));
}
