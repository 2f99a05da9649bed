import { ms, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';

export interface PersistTimes {
  /** Tries in all. */
  readonly tries: number;
  readonly firstPause: Milliseconds;
  /** By how much each pause is longer than the one before. */
  readonly growth: number;
}

export interface PersistParts {
  readonly clock: Clock;
  readonly random: () => number;
  readonly times: PersistTimes;
}

/**
 * Does `work` until its result is no temporary trouble, at most `tries` times, with longer and longer pauses; returns
 * the last result. A signal ends the pauses, never the work. `trouble` says what is wrong with a result, if anything.
 */
export async function persist<T>(
  { clock, random, times }: PersistParts,
  signal: AbortSignal,
  work: () => Promise<T>,
  trouble: (result: T) => string | undefined,
  retrying: (problem: string, pause: Milliseconds) => void,
): Promise<T> {
  let pause = times.firstPause;
  for (let tried = 1; ; tried += 1) {
    const result = await work();
    const problem = trouble(result);
    if (problem === undefined || tried >= times.tries || signal.aborted) return result;
    // Many edges lose one upstream at the same moment: they do not come back at the same moment.
    const spread = ms(Math.round(pause * (0.5 + random() / 2)));
    retrying(problem, spread);
    await clock.sleep(spread, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
    if (signal.aborted) return result;
    pause = ms(pause * times.growth);
  }
}
