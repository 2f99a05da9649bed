import { ms, seconds, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';

const FAILURES_TO_OPEN = 3;
const FIRST_PAUSE = seconds(1);
const LONGEST_PAUSE = seconds(30);

export interface HealthParts {
  readonly clock: Clock;
  /** Asks the registry whether it is there; false or a rejection means no. */
  readonly probe: (signal: AbortSignal) => Promise<boolean>;
  readonly onChange: (healthy: boolean) => void;
}

/**
 * The breaker of one URL. After three failed attempts in a row nobody asks it, except a probe behind the scenes: at
 * once, then after 1 s, growing to 30 s. Any sign of life closes the breaker. The probe at once keeps a single broken
 * repository, whose 5xx say nothing about the rest, from suspending the whole registry for longer than a round trip.
 */
export class OriginHealth {
  readonly #parts: HealthParts;
  #failures = 0;
  #probing: AbortController | undefined;
  #closed = false;

  constructor(parts: HealthParts) {
    this.#parts = parts;
  }

  get healthy(): boolean {
    return this.#probing === undefined;
  }

  succeeded(): void {
    this.#failures = 0;
    if (this.#probing === undefined) return;
    this.#probing.abort();
    this.#probing = undefined;
    this.#parts.onChange(true);
  }

  failed(): void {
    this.#failures += 1;
    if (this.#failures < FAILURES_TO_OPEN || this.#probing !== undefined || this.#closed) return;
    this.#probing = new AbortController();
    this.#parts.onChange(false);
    void this.#probeUntilHealthy(this.#probing.signal);
  }

  close(): void {
    this.#closed = true;
    this.#probing?.abort();
  }

  async #probeUntilHealthy(signal: AbortSignal): Promise<void> {
    for (let pause = ms(0); !signal.aborted; pause = longer(pause)) {
      // A sleep rejects only when it is aborted, which the next condition sees.
      if (pause > 0) await this.#parts.clock.sleep(pause, signal).catch(() => undefined);
      if (signal.aborted) return;
      const healthy = await this.#parts.probe(signal).catch(() => false);
      if (healthy && !signal.aborted) this.succeeded();
    }
  }
}

function longer(pause: Milliseconds): Milliseconds {
  return pause === 0 ? FIRST_PAUSE : ms(Math.min(pause * 2, LONGEST_PAUSE));
}
