import { seconds } from '../../lib/brand.ts';
import { Semaphore } from '../../lib/semaphore.ts';
import { ImageWarming, type ImageWarmingParts } from './image-warming.ts';
import type { PersistTimes } from './persist.ts';
import type { WarmEvent, WarmJob, WarmedImage } from './warm-job.ts';

/** Of all warming together, so that a large job leaves the line to clients. */
const MAX_TRANSFERS = 3;

/** On top of what the upstream client and the fill try by themselves. */
export const WARM_TIMES: PersistTimes = { tries: 4, firstPause: seconds(1), growth: 3 };

export type WarmerParts = Omit<ImageWarmingParts, 'transfers'>;

/**
 * Has images fetched as if somebody pulled them: through the same questions, so that they are verified, judged, linked
 * and fetched once. Fills belong to the edge: a job that nobody waits for any more starts no new ones, and ends when
 * those under way have ended.
 */
export class Warmer {
  readonly #parts: ImageWarmingParts;
  readonly #stop = new AbortController();
  readonly #jobs = new Set<Promise<unknown>>();

  constructor(parts: WarmerParts) {
    this.#parts = { ...parts, transfers: new Semaphore(MAX_TRANSFERS) };
  }

  /** One image after the other; `tell` hears all that happens, with a `done` for each image. */
  async warm(job: WarmJob, tell: (event: WarmEvent) => void, given?: AbortSignal): Promise<WarmedImage[]> {
    const signal = given === undefined ? this.#stop.signal : AbortSignal.any([this.#stop.signal, given]);
    const running = this.#all(job, tell, signal);
    this.#jobs.add(running);
    try {
      return await running;
    } finally {
      this.#jobs.delete(running);
    }
  }

  /** Nothing new is started; resolves when what runs has ended, which is when its fills have. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#jobs);
  }

  async #all(job: WarmJob, tell: (event: WarmEvent) => void, signal: AbortSignal): Promise<WarmedImage[]> {
    const results: WarmedImage[] = [];
    for (const image of job.images) {
      const result = await new ImageWarming(this.#parts, image, job, tell, signal).run();
      results.push(result);
      tell({ kind: 'done', result });
    }
    return results;
  }
}
