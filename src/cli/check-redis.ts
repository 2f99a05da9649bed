import type { RedisAddress, RedisConfig } from '../config/config.ts';
import { systemClock } from '../lib/clock.ts';
import { RedisError } from '../store/redis/redis-failure.ts';
import { probeRedis, type RedisProbe } from '../store/redis/redis-probe.ts';
import { NO_SECRET } from '../store/redis/sealed-records.ts';
import type { Report } from './certificates/check-certificates.ts';

const LOOPBACK = /^(localhost|127\.|::1$)/;

/** Nothing here fails a start: without Redis an edge goes on alone. */
export async function checkRedis(redis: RedisConfig, report: Report): Promise<void> {
  const where = redis.nodes.map(shown).join(', ');
  const user = redis.username ?? 'the default user';
  try {
    const probe = await probeRedis(redis, { ...redis, clock: systemClock });
    const version = probe.version === undefined ? '' : `, version ${probe.version}`;
    const text = `${where} (${redis.mode}) answers ${user} in ${probe.took.toFixed(1)} ms${version}`;
    const advice = adviceOn(redis, probe);
    report(advice.length === 0 ? 'ok' : 'warn', 'redis', [text, ...advice].join('; '));
  } catch (error) {
    if (!(error instanceof RedisError)) throw error;
    report('warn', 'redis', `${where}: ${error.message}: the edge starts without it and shares nothing`);
  }
  if (redis.secret === undefined) report('warn', 'redis.secret', NO_SECRET);
  else report('ok', 'redis.secret', 'set: every edge with the same one shares what it keeps');
}

function adviceOn(
  redis: RedisConfig,
  { refused, took, maxmemoryPolicy, maxmemoryBytes }: RedisProbe,
): string[] {
  const advice = refused.map(({ command, reason }) => `${command}: ${reason}`);
  if (took > redis.timeout / 2) advice.push('that is close to redis.timeout: a slow answer counts as a miss');
  if (maxmemoryBytes === 0)
    advice.push(
      'it has no maxmemory: give it one, and maxmemory-policy allkeys-lru, so that it cannot fill its host',
    );
  else if (maxmemoryPolicy === 'noeviction')
    advice.push(
      'maxmemory-policy is noeviction: when it is full nothing new is shared; allkeys-lru makes room',
    );
  const inClear =
    redis.tls === undefined && redis.nodes.some((node) => 'host' in node && !LOOPBACK.test(node.host));
  if (inClear && redis.password !== undefined)
    advice.push('redis.password goes over the network in clear: use rediss:// or redis.tls');
  return advice;
}

function shown(node: RedisAddress): string {
  if ('path' in node) return `unix://${node.path}`;
  return node.host.includes(':') ? `[${node.host}]:${node.port}` : `${node.host}:${node.port}`;
}
