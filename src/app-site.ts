import { randomUUID } from 'node:crypto';
import type { SiteStore } from './app-redis.ts';
import { SiblingEdges, type SiblingEdgesParts } from './cache/site/sibling-edges.ts';
import { ALONE, type Site } from './cache/site/site.ts';
import { seconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import type { Log } from './observe/log.ts';
import { Seldom } from './observe/seldom.ts';

const WARN_INTERVAL = seconds(60);

/** This edge among the others of its site. */
export interface SiteMembership {
  readonly site: Site;
  /** From here on it does what others announce. */
  listen(): void;
  close(): Promise<void>;
}

/** @param store undefined for an edge that shares nothing. */
export function joinSite(
  store: SiteStore | undefined,
  log: Log,
  here: Pick<SiblingEdgesParts, 'carryOut' | 'missed'>,
): SiteMembership {
  if (store === undefined) return { site: ALONE, listen: () => undefined, close: async () => undefined };
  const { metrics, channel, leases, announcementKey } = store;
  const seldom = new Seldom(systemClock, WARN_INTERVAL);
  const siblings = new SiblingEdges({
    ...here,
    channel,
    key: announcementKey,
    clock: systemClock,
    name: randomUUID(),
    events: {
      announced: () => metrics.announcements.inc({ outcome: 'announced' }),
      carriedOut: (kind) => {
        metrics.announcements.inc({ outcome: 'carried_out' });
        log.info({ kind }, 'done as another edge of the site announced');
      },
      refused: (why) => {
        metrics.announcements.inc({ outcome: 'refused' });
        seldom.run(why, (leftOut) => log.warn({ why, leftOut }, REFUSED));
      },
      failed: (err) => {
        metrics.announcements.inc({ outcome: 'failed' });
        seldom.run('failed', (leftOut) =>
          log.error({ err, leftOut }, 'what another edge announced could not be done'),
        );
      },
    },
  });
  return {
    site: { leases, shared: store.store, announce: (announcement) => siblings.announce(announcement) },
    listen: () => siblings.listen(),
    close: () => siblings.close(),
  };
}

const REFUSED =
  'a message on the channel of the site was not taken: ' +
  'all edges need the same redis.secret, and clocks that are less than a minute apart';
