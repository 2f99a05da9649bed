import { randomUUID } from 'node:crypto';
import type { Test } from 'tap';
import { ms, type Milliseconds } from '../../../src/lib/brand.ts';
import { systemClock, type Clock } from '../../../src/lib/clock.ts';
import type { Table } from '../../../src/store/metadata-store.ts';
import { RedisConnection } from '../../../src/store/redis/redis-connection.ts';
import type { RedisFailureKind } from '../../../src/store/redis/redis-failure.ts';
import { RedisStore } from '../../../src/store/redis/redis-store.ts';
import type { RedisTarget } from '../../../src/store/redis/redis-target.ts';
import { SealedRecords, siteKey } from '../../../src/store/redis/sealed-records.ts';
import { eventually } from '../../support/eventually.ts';

export const SECRET = 'canary-secret-that-all-edges-of-the-site-share';

/** What a connection told of itself. */
export interface Told {
  readonly answered: string[];
  readonly failed: [operation: string, kind: RedisFailureKind, message: string][];
  readonly available: [available: boolean, reason: string | undefined][];
  readonly corrupt: Table[];
}

export interface Opened {
  readonly connection: RedisConnection;
  readonly store: RedisStore;
  readonly told: Told;
  /** Resolves when calls go through. */
  readonly ready: () => Promise<void>;
}

export function standalone({ port }: { readonly port: number }): RedisTarget {
  return { mode: 'standalone', nodes: [{ host: '127.0.0.1', port }], database: 0 };
}

/** A connection that is closed after the test, and a store over it under a prefix of its own. */
export function openRedis(
  t: Test,
  target: RedisTarget,
  options: {
    readonly clock?: Clock;
    readonly storeClock?: Clock;
    readonly timeout?: Milliseconds;
    readonly prefix?: string;
    readonly secret?: string;
  } = {},
): Opened {
  const told: Told = { answered: [], failed: [], available: [], corrupt: [] };
  const { clock = systemClock, timeout = ms(1000), secret = SECRET } = options;
  const connection = new RedisConnection(target, {
    clock,
    timeout,
    events: {
      answered: (operation) => void told.answered.push(operation),
      failed: (operation, error) => void told.failed.push([operation, error.failure, error.message]),
      available: (available, reason) => void told.available.push([available, reason]),
    },
  });
  t.teardown(() => connection.close());
  const store = new RedisStore(connection, new SealedRecords(siteKey(secret, 'records')), {
    clock: options.storeClock ?? clock,
    prefix: options.prefix ?? `${randomUUID()}:`,
    corrupt: (table) => void told.corrupt.push(table),
  });
  const ready = async (): Promise<void> => {
    await eventually(() => connection.available, {
      what: () => `a connection: ${connection.lastError?.message}`,
    });
  };
  return { connection, store, told, ready };
}
