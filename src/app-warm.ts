import type { Storage } from './app-storage.ts';
import type { KeeperCore } from './cache/keeper-core.ts';
import type { Pins } from './cache/pins/pins.ts';
import { WARM_TIMES, Warmer } from './cache/warm/warmer.ts';
import {
  SCHEDULE_TIMES,
  WarmSchedules,
  type WarmRun,
  type WarmSchedule,
} from './cache/warm/warm-schedules.ts';
import type { Config } from './config/config.ts';
import { upstreamNames } from './config/upstreams.ts';
import { systemClock } from './lib/clock.ts';
import { cronTimetable } from './lib/timetable.ts';
import type { UpstreamName } from './oci/image-reference.ts';
import { platformOf } from './oci/platform.ts';
import type { Log } from './observe/log.ts';
import type { KeeperMetrics } from './observe/metrics.ts';
import { WarmMetrics } from './observe/warm-metrics.ts';

export interface WarmingParts {
  readonly core: KeeperCore;
  readonly storage: Storage;
  readonly metrics: KeeperMetrics;
  readonly log: Log;
}

/** The keeper's warming and pins, wired: for the control socket and by schedule. */
export class Warming {
  readonly warmer: Warmer;
  readonly pins: Pins;
  readonly upstreams: readonly UpstreamName[];
  readonly #schedules: WarmSchedules;
  readonly #metrics: WarmMetrics;
  readonly #log: Log;
  readonly #pinnedBytes: () => number;
  readonly #maxBytes: number;
  #overPinned = false;

  constructor(
    { warm, storage: { maxSize }, upstreams }: Config,
    { core, storage, metrics, log }: WarmingParts,
  ) {
    const { index, pins } = storage;
    this.#log = log;
    this.#maxBytes = maxSize;
    this.#pinnedBytes = () => index.pinnedBytes;
    this.#metrics = new WarmMetrics(metrics.registry, this.#pinnedBytes);
    this.pins = pins;
    this.upstreams = upstreamNames(upstreams);
    const shared = { clock: systemClock, random: Math.random };
    this.warmer = new Warmer({
      ...shared,
      core,
      index,
      pins,
      shelf: storage,
      host: platformOf(process.arch),
      times: WARM_TIMES,
      blobEnded: (outcome) => this.#metrics.blobs.inc({ outcome }),
    });
    this.#schedules = new WarmSchedules(warm, {
      ...shared,
      warmer: this.warmer,
      timetable: cronTimetable,
      times: SCHEDULE_TIMES,
      skipped: (schedule) => this.#skipped(schedule),
      ended: (schedule, run) => this.#ended(schedule, run),
      failed: (schedule, err) => this.#failed(schedule, err),
    });
  }

  /** The schedules run from here on. */
  start(): void {
    this.#schedules.start();
    this.watchPins();
  }

  /** Resolves when the fills that warming waits for have ended. */
  async stop(): Promise<void> {
    await Promise.all([this.#schedules.stop(), this.warmer.stop()]);
  }

  /** Pulls go on with more pinned than may be stored, but nothing else stays: told once, and when it is over. */
  watchPins(): void {
    const pinned = this.#pinnedBytes();
    const over = pinned > this.#maxBytes;
    if (over === this.#overPinned) return;
    this.#overPinned = over;
    const bytes = { pinned, maxSize: this.#maxBytes };
    if (over)
      this.#log.warn(
        bytes,
        'more is pinned than storage.maxSize allows: nothing else is kept, unpin or raise it',
      );
    else this.#log.info(bytes, 'what is pinned fits into storage.maxSize again');
  }

  #skipped({ name }: WarmSchedule): void {
    this.#metrics.runs.inc({ outcome: 'skipped' });
    this.#log.warn({ schedule: name }, 'warm run left out: the one before still goes on');
  }

  #ended({ name }: WarmSchedule, { outcome, images, tookMs }: WarmRun): void {
    this.#metrics.runs.inc({ outcome });
    if (outcome === 'complete') this.#metrics.lastSuccess.set({ schedule: name }, systemClock.now() / 1000);
    const sum = (of: 'fetchedBlobs' | 'fetchedBytes' | 'cachedBlobs'): number =>
      images.reduce((total, image) => total + image[of], 0);
    const failed = images.filter(({ problems }) => problems.length > 0);
    this.#log[outcome === 'failed' ? 'warn' : 'info'](
      {
        schedule: name,
        outcome,
        images: images.length,
        fetchedBlobs: sum('fetchedBlobs'),
        fetchedBytes: sum('fetchedBytes'),
        cachedBlobs: sum('cachedBlobs'),
        ms: Math.round(tookMs),
        // The first few say what is wrong; a schedule may have hundreds.
        ...(failed.length > 0 && {
          failed: failed.slice(0, 5).map(({ image, problems }) => `${image}: ${problems[0]}`),
        }),
      },
      'warm run ended',
    );
  }

  #failed({ name }: WarmSchedule, err: unknown): void {
    this.#metrics.runs.inc({ outcome: 'failed' });
    this.#log.error({ err, schedule: name }, 'warm run failed');
  }
}
