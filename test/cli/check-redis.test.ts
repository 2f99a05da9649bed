import t from 'tap';
import type { RedisConfig } from '../../src/config/config.ts';
import { checkRedis } from '../../src/cli/check-redis.ts';
import { ms } from '../../src/lib/brand.ts';
import { freePort } from '../support/free-port.ts';
import { missing } from '../support/parts.ts';
import { startRedis } from '../support/redis.ts';

const skip = missing('redis-server');
const CANARY = 'canary-password';
const SECRET = 'canary-secret-0123456789abcdef-0123';

function config(port: number, more: Partial<RedisConfig> = {}): RedisConfig {
  const nodes = [{ host: '127.0.0.1', port }];
  return { mode: 'standalone', nodes, database: 0, prefix: 'pierhead:', timeout: ms(2000), ...more };
}

async function reportOn(redis: RedisConfig): Promise<string[]> {
  const lines: string[] = [];
  await checkRedis(redis, (verdict, what, text) => void lines.push(`${verdict} ${what} ${text}`));
  return lines;
}

void t.test('who answers, as whom, and how it is set up', { skip }, async (t) => {
  await using redis = await startRedis({
    password: 'root',
    acl: [
      `user edge on >${CANARY} ~pierhead:* -@all +ping +info +getrange +set +del +multi +exec +incrby +pttl`,
      `user reader on >${CANARY} ~pierhead:* -@all +ping +info +getrange`,
    ],
    config: ['maxmemory 100mb', 'maxmemory-policy allkeys-lru'],
  });
  const edge = { username: 'edge', password: CANARY };
  t.match(await reportOn(config(redis.port, { ...edge, secret: SECRET })), [
    /^ok redis 127\.0\.0\.1:\d+ \(standalone\) answers edge in [\d.]+ ms, version \d+\.\d+\.\d+$/,
    /^ok redis\.secret set/,
  ]);
  t.strictSame(await redis.keys(), [], 'nothing is left there');
  t.match(await reportOn(config(redis.port, edge)), [
    /^ok/,
    /^warn redis\.secret redis\.secret is not set.*openssl rand -base64 32/,
  ]);
  t.match(await reportOn(config(redis.port, { username: 'reader', password: CANARY })), [
    /^warn redis .*; SET: the Redis user may not do this.*; DEL: the Redis user may not/,
  ]);
  await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
  t.match(await reportOn(config(redis.port, edge)), [/maxmemory-policy is noeviction/]);
  await redis.command('CONFIG', 'SET', 'maxmemory', 0);
  t.match(await reportOn(config(redis.port, edge)), [/it has no maxmemory/]);
  const wrong = await reportOn(
    config(redis.port, { username: 'edge', password: `${CANARY}-no`, secret: SECRET }),
  );
  t.match(wrong, [
    /^warn redis 127.*: Redis refuses redis\.username and redis\.password: the edge starts without/,
  ]);
  t.notMatch(wrong.join(), /canary/);
});

void t.test('nobody answers', async (t) => {
  t.match(await reportOn(config(await freePort(), { secret: SECRET })), [
    /^warn redis 127\.0\.0\.1:\d+: Redis cannot be reached \(ECONNREFUSED\): the edge starts without it/,
    /^ok/,
  ]);
});
