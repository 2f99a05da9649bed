import { tagRecords, type RulesOf } from './cache/manifests/freshness.ts';
import type { VerdictStore } from './cache/verdicts/verdict-records.ts';
import type { RedisConfig } from './config/config.ts';
import { seconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import type { Leases } from './lib/leases.ts';
import type { SharedCounters } from './lib/limits/shared-counters.ts';
import type { Log } from './observe/log.ts';
import { RedisMetrics } from './observe/redis-metrics.ts';
import { Seldom } from './observe/seldom.ts';
import type { EmbeddedStore } from './store/embedded-store.ts';
import type { SiteChannel } from './store/site-channel.ts';
import { RedisChannel } from './store/redis/redis-channel.ts';
import { RedisConnection } from './store/redis/redis-connection.ts';
import { RedisCounters } from './store/redis/redis-counters.ts';
import { RedisLeases } from './store/redis/redis-leases.ts';
import { RedisStore } from './store/redis/redis-store.ts';
import { NO_SECRET, SealedRecords, siteKey } from './store/redis/sealed-records.ts';
import { TieredStore } from './store/tiered-store.ts';

const WARN_INTERVAL = seconds(60);

/** What this edge shares with the others of its site. */
export interface SiteStore {
  /** The embedded store with the shared one behind it. */
  readonly store: TieredStore;
  readonly leases: Leases;
  /** Of callers' requests. */
  readonly counters: SharedCounters;
  readonly verdicts: VerdictStore;
  /** Messages between the edges, sealed under `announcementKey`. */
  readonly channel: SiteChannel;
  readonly announcementKey: Uint8Array;
  /** Under all of it. Closed after the store. */
  readonly connection: RedisConnection;
  /** 32 bytes that upstream tokens are sealed under, the same on every edge with the same `redis.secret`. */
  readonly tokenKey: Uint8Array;
  readonly metrics: RedisMetrics;
}

export interface SiteStoreParts {
  readonly embedded: EmbeddedStore;
  /** Of this host alone: what records are sealed under while the site has no secret. */
  readonly sealingKey: Uint8Array;
  readonly log: Log;
}

/** Connects in the background: a Redis that is not there never holds up a start. */
export function openSiteStore(redis: RedisConfig, rulesOf: RulesOf, parts: SiteStoreParts): SiteStore {
  const { embedded, sealingKey, log } = parts;
  const metrics = new RedisMetrics();
  const seldom = new Seldom(systemClock, WARN_INTERVAL);
  const warn = (kind: string, fields: object, text: string): void =>
    seldom.run(kind, (leftOut) => log.warn({ ...fields, leftOut }, text));
  if (redis.secret === undefined) log.warn(NO_SECRET);
  const secret = redis.secret ?? sealingKey;
  const connection = new RedisConnection(redis, {
    clock: systemClock,
    timeout: redis.timeout,
    events: {
      answered: (operation, took) => metrics.duration.observe({ operation }, took / 1000),
      failed: (operation, error) => {
        metrics.failures.inc({ kind: error.failure });
        warn('failed', { operation, reason: error.message }, 'the shared store did not answer: a miss');
      },
      available: (available, reason) => {
        metrics.up.set(available ? 1 : 0);
        if (available) seldom.run('up', () => log.info('the shared store can be asked'));
        else warn('down', { reason }, 'the shared store cannot be asked: the edge goes on alone');
      },
    },
  });
  const shared = new RedisStore(connection, new SealedRecords(siteKey(secret, 'records')), {
    clock: systemClock,
    prefix: redis.prefix,
    corrupt: (table) => {
      metrics.failures.inc({ kind: 'corrupt' });
      warn('corrupt', { table }, 'a record in the shared store is not of this site: a miss');
    },
  });
  const store = new TieredStore({
    embedded,
    shared,
    journal: embedded.localRecords('state'),
    clock: systemClock,
    tags: tagRecords(systemClock, rulesOf),
    events: {
      droppedWrite: () => metrics.droppedWrites.inc(),
      forgotDeletes: () =>
        warn(
          'deletes',
          {},
          'too much was purged while the shared store was away: some may come back from it',
        ),
      storeFailed: (err) => warn('store', { err }, 'the metadata store refused'),
    },
  });
  return {
    store,
    leases: new RedisLeases(connection, {
      clock: systemClock,
      prefix: redis.prefix,
      key: siteKey(secret, 'leases'),
    }),
    counters: new RedisCounters(connection, { prefix: redis.prefix, key: siteKey(secret, 'rates') }),
    verdicts: {
      get: (key) => shared.get('tokens', verdictKey(key)),
      put: (key, value, expiresAt) => shared.put('tokens', verdictKey(key), value, { expiresAt }),
      delete: (key) => shared.delete('tokens', verdictKey(key)),
    },
    channel: new RedisChannel(connection, redis.prefix, (error) =>
      warn('channel', { reason: error.message }, 'this edge does not hear the others of its site'),
    ),
    announcementKey: siteKey(secret, 'announcements'),
    connection,
    tokenKey: siteKey(secret, 'tokens'),
    metrics,
  };
}

/** Beside the upstreams' tokens, none of which is kept under such a name. */
function verdictKey(key: string): string {
  return `verdict ${key}`;
}
