import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { CronTime, Timetable } from '../../lib/timetable.ts';
import { imageText } from '../../oci/image-reference.ts';
import { persist, type PersistParts, type PersistTimes } from './persist.ts';
import type { WarmJob, WarmedImage } from './warm-job.ts';
import type { Warmer } from './warmer.ts';

/** Images that are to be here by themselves, at some time of the day. */
export interface WarmSchedule extends WarmJob {
  readonly name: string;
  readonly time: CronTime;
  /** A run starts up to so much later, so that a company's edges do not all ask at once. */
  readonly jitter: Milliseconds;
}

export interface WarmRun {
  readonly outcome: 'complete' | 'stale' | 'failed' | 'stopped';
  readonly images: readonly WarmedImage[];
  readonly tookMs: number;
}

export interface WarmSchedulesParts extends PersistParts {
  readonly warmer: Warmer;
  readonly timetable: Timetable;
  /** The run before still goes on: this one is left out. */
  readonly skipped: (schedule: WarmSchedule) => void;
  readonly ended: (schedule: WarmSchedule, run: WarmRun) => void;
  readonly failed: (schedule: WarmSchedule, error: unknown) => void;
}

/** Of a whole run: what an outage of some minutes has left undone is done after it. */
export const SCHEDULE_TIMES: PersistTimes = { tries: 4, firstPause: seconds(60), growth: 4 };

/** The schedules of the configuration, in the keeper: one run of each at a time. */
export class WarmSchedules {
  readonly #schedules: readonly WarmSchedule[];
  readonly #parts: WarmSchedulesParts;
  readonly #running = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();
  #cancel: (() => void)[] = [];

  constructor(schedules: readonly WarmSchedule[], parts: WarmSchedulesParts) {
    this.#schedules = schedules;
    this.#parts = parts;
  }

  start(): void {
    if (this.#stop.signal.aborted) return;
    this.#cancel = this.#schedules.map((schedule) =>
      this.#parts.timetable.at(schedule.time, () => this.#fire(schedule)),
    );
  }

  /** Nothing starts any more; resolves when what runs has ended, which is when its fills have. */
  async stop(): Promise<void> {
    this.#stop.abort();
    for (const cancel of this.#cancel) cancel();
    await Promise.all(this.#running.values());
  }

  #fire(schedule: WarmSchedule): void {
    const { name } = schedule;
    if (this.#running.has(name)) return this.#parts.skipped(schedule);
    const run = this.#run(schedule)
      .catch((error: unknown) => this.#parts.failed(schedule, error))
      .finally(() => this.#running.delete(name));
    this.#running.set(name, run);
  }

  async #run(schedule: WarmSchedule): Promise<void> {
    const { clock, random, warmer, ended } = this.#parts;
    const { signal } = this.#stop;
    const startedAt = clock.monotonic();
    if (schedule.jitter > 0)
      await clock.sleep(ms(schedule.jitter * random()), signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    const done = new Map<string, WarmedImage>();
    await persist(
      this.#parts,
      signal,
      async () => {
        const images = schedule.images.filter((image) => isLeft(done.get(imageText(image))));
        const results = await warmer.warm({ ...schedule, images }, () => undefined, signal);
        for (const result of results) done.set(result.image, result);
      },
      () => ([...done.values()].some(isLeft) ? 'not all of it could be had' : undefined),
      () => undefined,
    );
    const images = [...done.values()];
    ended(schedule, { outcome: worst(images), images, tookMs: clock.monotonic() - startedAt });
  }
}

/** Whether a later try may do better. */
function isLeft(result: WarmedImage | undefined): boolean {
  return result === undefined || result.temporary;
}

function worst(images: readonly WarmedImage[]): WarmRun['outcome'] {
  for (const outcome of ['failed', 'stopped', 'stale'] as const)
    if (images.some((image) => image.outcome === outcome)) return outcome;
  return 'complete';
}
