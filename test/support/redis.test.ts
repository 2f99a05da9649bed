import { existsSync } from 'node:fs';
import t from 'tap';
import { missing } from './parts.ts';
import { plainClient, startRedis } from './redis.ts';
import { startRedisCluster } from './redis/cluster.ts';
import { startSentinelSite } from './redis/sentinel.ts';

const skip = missing('redis-server');

void t.test('a server of its own, which goes without a trace', { skip }, async (t) => {
  const redis = await startRedis({
    password: 'root',
    acl: ['user edge on >canary ~pierhead:* +get +set'],
    tls: true,
  });
  t.equal(await redis.command('SET', 'pierhead:a', 'one'), 'OK');
  t.strictSame(await redis.keys(), ['pierhead:a']);
  t.match((await redis.dump()).toString('latin1'), 'pierhead:a');
  const user = plainClient({
    port: redis.port,
    username: 'edge',
    password: 'canary',
    tls: { rejectUnauthorized: false },
  });
  t.equal(await user.get('pierhead:a'), 'one');
  await t.rejects(user.get('other'), { message: /NOPERM/ });
  user.disconnect();
  await redis.kill();
  await t.rejects(redis.command('PING'));
  await redis.start();
  t.strictSame(await redis.keys(), [], 'nothing is kept');
  redis.pause();
  const { pid, dir } = redis;
  await redis.remove();
  t.notOk(existsSync(`/proc/${pid}`));
  t.notOk(existsSync(dir));
});

void t.test('a Sentinel makes the replica the master', { skip }, async (t) => {
  await using site = await startSentinelSite();
  t.equal(await site.masterPort(), site.first.port);
  await site.first.kill();
  await site.failedOver(site.first.port);
  t.equal(await site.masterPort(), site.second.port);
});

void t.test('three nodes, and a slot that moves', { skip }, async (t) => {
  await using cluster = await startRedisCluster();
  const [first] = cluster.nodes;
  const key = 'foo';
  const slot = Number(await first?.command('CLUSTER', 'KEYSLOT', key));
  const owner = cluster.nodes[Math.floor((slot * 3) / 16_384)];
  await owner?.command('SET', key, 'bar');
  t.strictSame(await cluster.keys(), [key]);
  await cluster.moveSlotOf(key);
  await t.rejects(owner?.command('GET', key) ?? Promise.resolve(), { message: /MOVED/ });
  t.strictSame(await cluster.keys(), [key]);
});
