import { randomUUID } from 'node:crypto';
import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { within } from '../../lib/within.ts';
import { RedisConnection } from './redis-connection.ts';
import { redisError, RedisError } from './redis-failure.ts';
import type { RedisClient, RedisTarget } from './redis-target.ts';

export interface RedisProbe {
  readonly took: Milliseconds;
  /** Undefined where the user may not ask (INFO), as what follows. */
  readonly version: string | undefined;
  readonly maxmemoryPolicy: string | undefined;
  /** 0 without a limit. */
  readonly maxmemoryBytes: number | undefined;
  /** What an edge needs and did not get. */
  readonly refused: readonly { readonly command: string; readonly reason: string }[];
}

/** Every command that an edge sends beside the handshake, once, on a key of its own. */
const NEEDED: readonly (readonly [
  name: string,
  send: (client: RedisClient, key: string) => Promise<unknown>,
])[] = [
  ['MULTI, INCRBY, PTTL and EXEC', count],
  ['SET', (client, key) => client.set(key, 'check', 'PX', 10_000)],
  ['GETRANGE', (client, key) => client.getrange(key, 0, 1)],
  ['DEL', (client, key) => client.del(key)],
];
const CONNECT_WITHIN = seconds(3);

async function count(client: RedisClient, key: string): Promise<void> {
  const results = await client.multi().incrby(key, 1).pttl(key).exec();
  for (const [error] of results ?? []) if (error !== null) throw error;
}

/** Tries what an edge does with Redis. @throws {RedisError} when there is no connection. */
export async function probeRedis(
  target: RedisTarget,
  { clock, prefix, timeout }: { clock: Clock; prefix: string; timeout: Milliseconds },
): Promise<RedisProbe> {
  const up = Promise.withResolvers<true>();
  const connection = new RedisConnection(target, {
    clock,
    timeout,
    events: {
      answered: () => undefined,
      failed: () => undefined,
      available: (available) => {
        if (available) up.resolve(true);
      },
    },
  });
  try {
    if ((await within(clock, CONNECT_WITHIN, up.promise)) === undefined)
      throw connection.lastError ?? new RedisError('connection', 'there is no connection to Redis');
    const startedAt = clock.monotonic();
    await connection.run('ping', (client) => client.ping());
    const took = ms(clock.monotonic() - startedAt);
    const refused: { command: string; reason: string }[] = [];
    const key = `${prefix}check:${randomUUID()}`;
    for (const [command, send] of NEEDED) {
      const reason = await connection
        .run(command, (client) => send(client, key))
        .then(
          () => undefined,
          (error: unknown) => redisError(error).message,
        );
      if (reason !== undefined) refused.push({ command, reason });
    }
    const info = await connection.run('info', (client) => client.info()).catch(() => '');
    return { took, refused, ...facts(info) };
  } finally {
    await connection.close();
  }
}

function facts(info: string): Pick<RedisProbe, 'version' | 'maxmemoryPolicy' | 'maxmemoryBytes'> {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}:([\\w.-]{1,40})\r?$`, 'm').exec(info)?.[1];
  const maxmemory = field('maxmemory');
  return {
    version: field('redis_version'),
    maxmemoryPolicy: field('maxmemory_policy'),
    maxmemoryBytes: maxmemory === undefined ? undefined : Number(maxmemory),
  };
}
