import type { Milliseconds } from './brand.ts';
import type { Clock } from './clock.ts';

/** The result of `work`, or undefined when it takes longer than `limit`; the work goes on behind. @throws its error. */
export async function within<T>(clock: Clock, limit: Milliseconds, work: Promise<T>): Promise<T | undefined> {
  const done = new AbortController();
  const late = clock.sleep(limit, done.signal).then(
    () => undefined,
    () => undefined,
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    done.abort();
    // Nobody listens any more when the limit came first: its failure is the next asker's to see.
    work.catch(() => undefined);
  }
}
