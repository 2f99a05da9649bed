import t, { type Test } from 'tap';
import { ms } from '../../../src/lib/brand.ts';
import { RedisCounters } from '../../../src/store/redis/redis-counters.ts';
import { siteKey } from '../../../src/store/redis/sealed-records.ts';
import { eventually } from '../../support/eventually.ts';
import { missing } from '../../support/parts.ts';
import { startRedis, type RedisServer } from '../../support/redis.ts';
import { openRedis, SECRET, standalone } from './fixture.ts';

const skip = missing('redis-server');
const ADDRESS = '10.11.12.13';

async function countersOf(t: Test, redis: RedisServer): Promise<RedisCounters> {
  const { connection, ready } = openRedis(t, standalone(redis), { timeout: ms(200) });
  await ready();
  return new RedisCounters(connection, { prefix: 'pierhead:', key: siteKey(SECRET, 'rates') });
}

void t.test('edges add to one counter, whose name says nothing', { skip }, async (t) => {
  await using redis = await startRedis();
  const [one, other] = [await countersOf(t, redis), await countersOf(t, redis)];
  const first = await one.add(ADDRESS, 5);
  t.equal(first.used, 5);
  t.ok(first.endsIn > 55_000 && first.endsIn <= 60_000);
  t.match(await other.add(ADDRESS, 3), { used: 8 });
  t.match(await other.add('10.11.12.14', 3), { used: 3 }, 'another caller');
  const keys = await redis.keys();
  t.equal(keys.length, 2);
  t.ok(keys.every((key) => /^pierhead:rate:[\w-]{43}$/.test(key)));
  t.notOk((await redis.dump()).includes(ADDRESS));
  t.ok(Number(await redis.command('PTTL', keys[0] ?? '')) > 0, 'it ends by itself');
});

void t.test('an edge counts alone while Redis stands still, and while it is gone', { skip }, async (t) => {
  await using redis = await startRedis();
  const counters = await countersOf(t, redis);
  await counters.add(ADDRESS, 100);
  redis.pause();
  t.match(await counters.add(ADDRESS, 5), { used: 5 });
  t.match(await counters.add(ADDRESS, 2), { used: 7 });
  redis.resume();
  await eventually(async () => (await counters.add(ADDRESS, 1)).used > 100, {
    what: 'it counts with the others again',
  });
  await redis.kill();
  t.match(await counters.add('10.11.12.15', 5), { used: 5 });
});

void t.test('a user of Redis who may run no scripts may count', { skip }, async (t) => {
  const may = '+ping +info +set +incrby +pttl +multi +exec';
  await using redis = await startRedis({ acl: [`user edge on >canary ~pierhead:* -@all ${may}`] });
  const target = { ...standalone(redis), username: 'edge', password: 'canary' };
  const { connection, ready, told } = openRedis(t, target);
  await ready();
  const counters = new RedisCounters(connection, { prefix: 'pierhead:', key: siteKey(SECRET, 'rates') });
  await counters.add(ADDRESS, 5);
  t.equal((await redis.keys()).length, 1);
  t.same(told.failed, []);
  await redis.command('SET', (await redis.keys())[0] ?? '', 'no number');
  t.match(await counters.add(ADDRESS, 5), { used: 5 }, 'what is no counter is none');
  t.equal(told.failed.length, 1);
});
