import type { SourceEvents } from './access/directory/source-events.ts';
import { seconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import type { Log } from './observe/log.ts';
import { Seldom } from './observe/seldom.ts';
import type { SourceMetrics } from './observe/source-metrics.ts';

const WARN_INTERVAL = seconds(60);

/** What sources of identities tell, counted and logged. */
export function sourceEvents(metrics: SourceMetrics, log: Log): SourceEvents {
  const seldom = new Seldom(systemClock, WARN_INTERVAL);
  return {
    changed: (source, server, up, reason) => {
      metrics.up.set({ source, server }, up ? 1 : 0);
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
  };
}
