import type { LimitsConfig } from './config/access/access-config.ts';
import { UnknownLimits, type UnknownLimitsParts } from './cache/limits/question-limits.ts';
import { SiteUsage } from './cache/limits/site-usage.ts';
import { seconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import { Places } from './lib/limits/places.ts';
import type { SharedCounters } from './lib/limits/shared-counters.ts';
import type { Usage } from './lib/limits/usage.ts';

/** For one's own fills to end; well within the time of an answer. */
const FILL_PATIENCE = seconds(3);
const MAX_WAITING_FILLS = 256;

/** What callers may make the keeper do. A reload changes it under those who hold it. */
export class CallerLimits {
  /** Of fills. */
  readonly places: Places;
  #config: LimitsConfig;
  #unknown: UnknownLimits | undefined;
  #site: SiteUsage | undefined;

  constructor(config: LimitsConfig) {
    this.#config = config;
    this.places = new Places({
      clock: systemClock,
      most: () => this.#config.fillsPerCaller,
      patience: FILL_PATIENCE,
      maxWaiting: MAX_WAITING_FILLS,
    });
  }

  ofQuestions(parts: Omit<UnknownLimitsParts, 'clock'>): UnknownLimits {
    this.#unknown = new UnknownLimits(this.#config.unknownPerSecond, { ...parts, clock: systemClock });
    return this.#unknown;
  }

  /** @returns what is told of what callers use here. */
  overSite(counters: SharedCounters, tell: (usage: Usage) => void): (usage: Usage) => void {
    const site = new SiteUsage(rateOf(this.#config), { counters, clock: systemClock, tell });
    this.#site = site;
    return (usage) => site.add(usage);
  }

  change(config: LimitsConfig): void {
    this.#config = config;
    this.#unknown?.change(config.unknownPerSecond);
    this.#site?.change(rateOf(config));
  }
}

function rateOf({ requestsPerSecond, burst }: LimitsConfig): { perSecond: number; burst: number } {
  return { perSecond: requestsPerSecond, burst };
}
