import t from 'tap';
import { eventually } from '../../support/eventually.ts';
import { missing } from '../../support/parts.ts';
import { startRedis } from '../../support/redis.ts';
import { startRedisCluster } from '../../support/redis/cluster.ts';
import { startSentinelSite } from '../../support/redis/sentinel.ts';
import { openRedis, standalone } from './fixture.ts';

const skip = missing('redis-server');
const VALUE = Buffer.from('-');

void t.test('Sentinels: after a failover the new master is asked', { skip }, async (t) => {
  await using site = await startSentinelSite();
  const nodes = site.sentinels.map((address) => {
    const [host = '', port] = address.split(':');
    return { host, port: Number(port) };
  });
  const { store, told, ready } = openRedis(t, { mode: 'sentinel', nodes, name: site.name, database: 0 });
  await ready();
  await store.put('links', 'a', VALUE);
  await eventually(async () => (await site.second.keys()).length === 1, { what: 'it is replicated' });
  await site.first.kill();
  await site.failedOver(site.first.port);
  await ready();
  await eventually(async () => {
    await store.put('links', 'b', VALUE);
    return true;
  });
  t.ok(await store.get('links', 'a'), 'what was replicated is there');
  t.equal((await site.second.keys()).length, 2);
  t.strictSame(told.available.map(([available]) => available).slice(0, 3), [true, false, true]);
});

void t.test('Sentinels that know no such master', { skip }, async (t) => {
  await using site = await startSentinelSite();
  const [host = '', port = ''] = site.sentinels[0]?.split(':') ?? [];
  const nodes = [{ host, port: Number(port) }];
  const { connection, store } = openRedis(t, { mode: 'sentinel', nodes, name: 'other', database: 0 });
  await eventually(() => connection.lastError?.message === 'no Sentinel answers for redis.name');
  await t.rejects(store.get('links', 'a'), { name: 'RedisError', kind: 'unavailable' });
});

void t.test('a cluster: slots that move, nodes that go', { skip }, async (t) => {
  await using cluster = await startRedisCluster({ config: ['cluster-require-full-coverage no'] });
  const [seed, ...others] = cluster.nodes.map(({ host, port }) => ({ host, port }));
  if (seed === undefined) throw new Error('a cluster has nodes');
  // One that is not there is no harm, as long as another is.
  const gone = { host: '127.0.0.1', port: 1 };
  const target = { mode: 'cluster', nodes: [gone, seed], database: 0 } as const;
  const { store, ready, connection } = openRedis(t, target, { prefix: 'p:' });
  await ready();
  const keys = Array.from({ length: 30 }, (_, at) => `key ${at}`);
  await Promise.all(keys.map((key) => store.put('links', key, VALUE)));
  const counts = await Promise.all(cluster.nodes.map(async (node) => (await node.keys()).length));
  t.ok(
    counts.every((count) => count > 0),
    `all nodes hold some: ${counts.join(', ')}`,
  );

  for (const name of (await cluster.keys()).slice(0, 5)) await cluster.moveSlotOf(name);
  const found = await Promise.all(keys.map((key) => store.get('links', key)));
  t.ok(
    found.every((value) => value !== undefined),
    'all are found where they are now',
  );

  const [, , third] = cluster.nodes;
  await third?.kill();
  const outcomes = await Promise.allSettled(keys.map((key) => store.get('links', key)));
  t.ok(
    outcomes.every(
      ({ status, ...rest }) =>
        status === 'fulfilled' || (rest as { reason: Error }).reason.name === 'RedisError',
    ),
  );
  for (const node of [...cluster.nodes].slice(0, 2)) await node.kill();
  await eventually(() => !connection.available);
  await t.rejects(store.get('links', 'key 1'), { name: 'RedisError', kind: 'unavailable' });
  t.equal(others.length, 2);
});

void t.test('a server that is not a cluster is no cluster', { skip }, async (t) => {
  await using redis = await startRedis();
  const { connection, store } = openRedis(t, { ...standalone(redis), mode: 'cluster' });
  await eventually(() => connection.lastError !== undefined);
  await t.rejects(store.get('links', 'a'), { name: 'RedisError', kind: 'unavailable' });
});
