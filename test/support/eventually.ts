import { setTimeout as delay } from 'node:timers/promises';

export interface EventuallyOptions {
  /** How long to try; 10 s by default. */
  readonly timeoutMs?: number;
  /** The first pause between two tries; it grows to 50 ms. */
  readonly intervalMs?: number;
  /** Shown when the condition never holds; a function is asked at the end, for the state by then. */
  readonly what?: string | (() => string);
}

/**
 * Waits until `condition` gives something truthy, and returns that. An exception counts as "not yet" and is the cause
 * of the error at the deadline.
 */
export async function eventually<T>(
  condition: () => T | Promise<T>,
  options: EventuallyOptions = {},
): Promise<NonNullable<T>> {
  const { timeoutMs = 10_000, intervalMs = 2, what = condition.toString() } = options;
  const deadline = performance.now() + timeoutMs;
  let pauseMs = intervalMs;
  let cause: unknown;
  for (;;) {
    try {
      cause = undefined;
      const value = await condition();
      if (value) return value;
    } catch (error) {
      if (error instanceof NeverError) throw error;
      cause = error;
    }
    if (performance.now() >= deadline) {
      const text = typeof what === 'string' ? what : what();
      throw new Error(`not within ${timeoutMs} ms: ${text}`, { cause });
    }
    await delay(pauseMs);
    pauseMs = Math.min(pauseMs * 1.5, 50);
  }
}

/** Thrown by a condition that can no longer come true: ends the waiting at once. */
export class NeverError extends Error {
  override readonly name = 'NeverError';
}
