import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { RedisTarget } from '../../../src/store/redis/redis-target.ts';
import { eventually } from '../../support/eventually.ts';
import { missing } from '../../support/parts.ts';
import { startRedis } from '../../support/redis.ts';
import { startRedisCluster } from '../../support/redis/cluster.ts';
import { tempFolder } from '../../support/temp.ts';
import { openRedis, standalone, type Opened } from './fixture.ts';

const skip = missing('redis-server');

async function listen(t: Test, target: RedisTarget): Promise<Opened & { heard: string[] }> {
  const opened = openRedis(t, target);
  const heard: string[] = [];
  const subscriber = opened.connection.subscriber();
  subscriber.on('message', (_channel: string, text: string) => void heard.push(text));
  await opened.ready();
  await subscriber.subscribe('news');
  return { ...opened, heard };
}

/** Until it is heard: what is published before the subscription is back is lost. */
async function hears({ connection, heard }: Opened & { heard: string[] }, text: string): Promise<void> {
  await eventually(async () => {
    if (connection.available) await connection.run('publish', (client) => client.publish('news', text));
    return heard.includes(text);
  });
}

void t.test('a subscriber subscribes again when Redis is back', { skip }, async (t) => {
  await using redis = await startRedis();
  const edge = await listen(t, standalone(redis));
  await hears(edge, 'one');
  await redis.kill();
  await eventually(() => !edge.connection.available);
  await redis.start();
  await hears(edge, 'two');
  t.ok(edge.heard.includes('two'));
});

void t.test('in a cluster as well', { skip }, async (t) => {
  await using cluster = await startRedisCluster();
  const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }));
  const edge = await listen(t, { mode: 'cluster', nodes, database: 0 });
  await hears(edge, 'one');
  t.ok(edge.heard.includes('one'));
});

void t.test('over a Unix socket', { skip }, async (t) => {
  const path = join(tempFolder(t), 'redis.sock');
  await using redis = await startRedis({ config: [`unixsocket ${path}`] });
  const edge = await listen(t, { mode: 'standalone', nodes: [{ path }], database: 3 });
  await hears(edge, 'one');
  await edge.store.put('links', 'a', Buffer.from('-'));
  t.ok(await edge.store.get('links', 'a'));
  t.strictSame(await redis.keys(), [], 'in the database that was chosen');
});
