import { randomUUID } from 'node:crypto';
import t from 'tap';
import { LEASE_LIFE } from '../../../src/lib/leases.ts';
import { RedisChannel } from '../../../src/store/redis/redis-channel.ts';
import { RedisLeases } from '../../../src/store/redis/redis-leases.ts';
import type { RedisTarget } from '../../../src/store/redis/redis-target.ts';
import { siteKey } from '../../../src/store/redis/sealed-records.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { missing } from '../../support/parts.ts';
import { startRedis } from '../../support/redis.ts';
import { startRedisCluster } from '../../support/redis/cluster.ts';
import { openRedis, SECRET, standalone } from './fixture.ts';

const skip = missing('redis-server');
const QUESTION = 'manifest central/team/secret-project:v1';

async function twoEdges(t: Parameters<typeof openRedis>[0], target: RedisTarget) {
  const prefix = `${randomUUID()}:`;
  const clock = new FakeClock();
  const edges = await Promise.all(
    [1, 2].map(async () => {
      const opened = openRedis(t, target, { prefix });
      const { connection, told } = opened;
      await opened.ready();
      const leases = new RedisLeases(connection, { clock, prefix, key: siteKey(SECRET, 'leases') });
      const refused: string[] = [];
      const channel = new RedisChannel(connection, prefix, ({ message }) => void refused.push(message));
      const heard: string[] = [];
      const state = { joined: 0 };
      channel.listen(
        (message) => void heard.push(Buffer.from(message).toString('latin1')),
        () => {
          state.joined += 1;
        },
      );
      await eventually(() => state.joined > 0 || refused.length > 0);
      return { connection, leases, channel, heard, refused, state, told };
    }),
  );
  const [one, two] = edges;
  if (one === undefined || two === undefined) throw new Error('two edges');
  return { one, two, clock, prefix };
}

void t.test('a lease: one at a time, given back or ended by itself, without a name', { skip }, async (t) => {
  await using redis = await startRedis();
  const { one, two, clock, prefix } = await twoEdges(t, standalone(redis));
  const lease = await one.leases.take(QUESTION);
  t.ok(lease);
  t.equal(await two.leases.take(QUESTION), undefined);
  t.ok(await two.leases.take('another question'));
  const names = (await redis.keys()).filter((key) => key.startsWith(`${prefix}lease:`));
  t.equal(names.length, 2);
  t.notMatch((await redis.dump()).toString('latin1'), /secret-project/);
  for (const name of names) {
    const left = Number(await redis.command('PTTL', name));
    t.ok(left > 0 && left <= LEASE_LIFE, 'ends by itself');
  }
  lease?.release();
  await eventually(() => one.told.answered.includes('release'));
  const next = await two.leases.take(QUESTION);
  t.ok(next);
  await clock.advance(LEASE_LIFE);
  next?.release();
  t.equal(
    await one.leases.take(QUESTION),
    undefined,
    'after its life a holder leaves it alone: it is another’s by now',
  );
});

void t.test('without Redis everybody has every lease, at once', { skip }, async (t) => {
  await using redis = await startRedis();
  const { one, two } = await twoEdges(t, standalone(redis));
  t.ok(await one.leases.take(QUESTION));
  await redis.kill();
  await eventually(() => !two.connection.available);
  t.ok(await two.leases.take(QUESTION));
  t.ok(await two.leases.take(QUESTION));
});

void t.test(
  'messages reach all edges; after a break the edge listens again, and says so',
  { skip },
  async (t) => {
    await using redis = await startRedis();
    const { one, two } = await twoEdges(t, standalone(redis));
    const bytes = Buffer.from([...Array(256).keys()]);
    await one.channel.publish(bytes);
    await eventually(() => one.heard.length === 1 && two.heard.length === 1);
    t.equal(two.heard[0], bytes.toString('latin1'));
    await redis.kill();
    await eventually(() => !one.connection.available);
    await t.rejects(one.channel.publish(bytes), { name: 'RedisError' });
    await redis.start();
    await eventually(() => one.state.joined === 2 && two.state.joined === 2 && one.connection.available);
    await one.channel.publish(Buffer.from('again'));
    await eventually(() => two.heard[1] === 'again');
    two.channel.rejoin();
    await eventually(() => two.state.joined === 3);
    await one.channel.publish(Buffer.from('anew'));
    await eventually(() => two.heard[2] === 'anew');
    await two.channel.close();
    await one.channel.publish(Buffer.from('unheard'));
    await eventually(() => one.heard.includes('unheard'));
    t.notOk(two.heard.includes('unheard'));
  },
);

void t.test('an ACL that forgets the channel is told of', { skip }, async (t) => {
  await using redis = await startRedis({ acl: ['user edge on >canary ~* resetchannels +@all'] });
  const target = { ...standalone(redis), username: 'edge', password: 'canary' };
  const { one } = await twoEdges(t, target);
  t.same(one.refused, ['the Redis user may not do this: mend its ACL']);
  await t.rejects(one.channel.publish(Buffer.of(1)), { message: /mend its ACL/ });
  t.ok(await one.leases.take(QUESTION), 'and the rest works');
});

void t.test('in a cluster: the same', { skip }, async (t) => {
  await using cluster = await startRedisCluster();
  const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }));
  const { one, two } = await twoEdges(t, { mode: 'cluster', nodes, database: 0 });
  t.ok(await one.leases.take(QUESTION));
  t.equal(await two.leases.take(QUESTION), undefined);
  await one.channel.publish(Buffer.from('hello'));
  await eventually(() => two.heard.includes('hello'));
});
