import type { KeeperEvents } from './app-events.ts';
import type { SiteStore } from './app-redis.ts';
import type { RulesOf } from './cache/manifests/freshness.ts';
import { VerdictCache } from './cache/verdicts/verdict-cache.ts';
import { NO_VERDICT_STORE } from './cache/verdicts/verdict-records.ts';
import { systemClock } from './lib/clock.ts';
import type { TokenStore, Upstream } from './upstream/upstream.ts';

export interface VerdictParts {
  /** Undefined for an edge that shares nothing. */
  readonly shares: SiteStore | undefined;
  readonly rulesOf: RulesOf;
  readonly tokens: TokenStore;
  /** What tokens are sealed under. */
  readonly sealingKey: Uint8Array;
  readonly events: KeeperEvents;
}

/** What upstreams say to callers; asked for with `auth.mode: upstream` only. */
export function createVerdicts(
  upstreams: ReadonlyMap<string, Upstream>,
  { shares, rulesOf, tokens, sealingKey, events }: VerdictParts,
): VerdictCache {
  return new VerdictCache({
    upstreams,
    rulesOf,
    clock: systemClock,
    store: shares?.verdicts ?? NO_VERDICT_STORE,
    doors: tokens,
    secret: sealingKey,
    events: events.verdicts(),
  });
}
