import { setTimeout as delay } from 'node:timers/promises';
import { ms, type Milliseconds } from './brand.ts';

/** Time as the parts see it: injected, so that tests move it by hand. */
export interface Clock {
  /** Wall clock since the Unix epoch; may jump. Only for what is written to disk or shown. */
  now(): Milliseconds;
  /** Monotonic; for measuring and for waiting. */
  monotonic(): Milliseconds;
  /** Resolves after `duration`; rejects with the signal's reason when aborted. Never keeps the process alive. */
  sleep(duration: Milliseconds, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => ms(Date.now()),
  monotonic: () => ms(performance.now()),
  sleep: async (duration, signal) => {
    try {
      await delay(duration, undefined, signal === undefined ? { ref: false } : { ref: false, signal });
    } catch (error) {
      // Node wraps the reason in an AbortError of its own.
      signal?.throwIfAborted();
      throw error;
    }
  },
};
