import type { Registry } from 'prom-client';
import type { SourceEvents } from './access/directory/source-events.ts';
import type { IdentificationEvents } from './access/edge/edge-identification.ts';
import { seconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import { IdentityMetrics } from './observe/identity-metrics.ts';
import type { Log } from './observe/log.ts';
import { Seldom } from './observe/seldom.ts';

const WARN_INTERVAL = seconds(60);

/** What is told of callers being found out. */
export interface IdentityEvents extends IdentificationEvents, SourceEvents {
  /** Other sources than those of before are in force. */
  readonly replaced: () => void;
}

/** For settings that are only tried. */
export const UNHEARD: IdentityEvents = {
  identified: () => undefined,
  unavailable: () => undefined,
  changed: () => undefined,
  unusable: () => undefined,
  replaced: () => undefined,
};

/** Counted and logged, for one process. */
export function identityEvents(registry: Registry, log: Log): IdentityEvents {
  const metrics = new IdentityMetrics(registry);
  const seldom = new Seldom(systemClock, WARN_INTERVAL);
  return {
    identified: (outcome) => metrics.identified.inc({ outcome }),
    unavailable: ({ message }) =>
      seldom.run('unavailable', (leftOut) =>
        log.warn({ reason: message, leftOut }, 'a source of identities does not answer'),
      ),
    changed: (source, server, up, reason) => {
      metrics.sourceUp.set({ source, server }, up ? 1 : 0);
      if (up) log.info({ source, server }, 'the source of identities can be asked');
      else
        log.warn(
          { source, server, reason },
          'the source of identities cannot be asked: nobody new gets in by it',
        );
    },
    unusable: (source, reason) =>
      seldom.run(`${source} ${reason}`, (leftOut) =>
        log.warn({ source, reason, leftOut }, 'the source of identities is of no use'),
      ),
    replaced: () => metrics.sourceUp.reset(),
  };
}
