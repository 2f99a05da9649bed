import t from 'tap';
import { ms } from '../../../src/lib/brand.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { missing } from '../../support/parts.ts';
import { plainClient, startRedis } from '../../support/redis.ts';
import { openRedis, standalone } from './fixture.ts';

const skip = missing('redis-server');
const CANARY = 'canary/repository';
const KEY = `sha256:abc central/${CANARY}`;

void t.test('what others write into Redis gives no authority', { skip }, async (t) => {
  await using redis = await startRedis();
  const { store, told, ready } = openRedis(t, standalone(redis), { prefix: 'p:' });
  await ready();
  await store.put('links', KEY, Buffer.from('secret value'));
  await store.put('links', 'other', Buffer.from('other value'));
  await store.put('tags', KEY, Buffer.from('a tag'));
  const direct = plainClient({ port: redis.port });
  t.teardown(() => direct.disconnect());
  const bytesOf = async (name: string): Promise<Buffer> => (await direct.getBuffer(name)) ?? Buffer.of();
  const names = await redis.keys();
  t.equal(names.length, 3);
  t.notMatch((await redis.dump()).toString('latin1'), /canary|secret value|sha256/);
  const [first = '', second = '', tag = ''] = names;
  const record = await bytesOf(first);

  const misses = async (what: string, corrupt = 1): Promise<void> => {
    told.corrupt.length = 0;
    t.equal(await store.get('links', KEY), undefined, what);
    t.equal(await store.get('links', 'other'), undefined, what);
    t.equal(told.corrupt.length, 2 * corrupt, `${what} is counted`);
  };
  for (const at of [0, 1, 12, 20, 28, 30, 40, record.byteLength - 1]) {
    for (const name of [first, second]) {
      const bytes = await bytesOf(name);
      bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      await redis.command('SET', name, bytes);
    }
    await misses(`byte ${at} changed`);
    await store.put('links', KEY, Buffer.from('secret value'));
    await store.put('links', 'other', Buffer.from('other value'));
  }
  const [one, two] = [await bytesOf(first), await bytesOf(second)];
  await redis.command('SET', first, two);
  await redis.command('SET', second, one);
  await misses('swapped between keys');
  const tagged = await bytesOf(tag);
  await redis.command('SET', first, tagged);
  await redis.command('SET', second, tagged);
  await misses('of another table');
  for (const made of ['', '\u0001', 'x', '\u0001'.repeat(1000), Buffer.alloc(6_000_000, 1)]) {
    await redis.command('SET', first, made);
    await redis.command('SET', second, made);
    await misses(`${made.length} bytes made up`, made.length === 0 ? 0 : 1);
  }
  await redis.command('DEL', first, second);
  await redis.command('LPUSH', first, 'a');
  const [list] = await Promise.allSettled([KEY, 'other'].map((key) => store.get('links', key))).then((all) =>
    all.filter(({ status }) => status === 'rejected'),
  );
  t.match(list, { reason: { kind: 'corrupt' } }, 'a list under the key');
  await redis.command('FLUSHALL');
  await misses('flushed', 0);
});

void t.test('another secret, or another prefix, is another site', { skip }, async (t) => {
  await using redis = await startRedis();
  const mine = openRedis(t, standalone(redis), { prefix: 'p:' });
  const foreign = openRedis(t, standalone(redis), { prefix: 'p:', secret: 'x'.repeat(32) });
  const same = openRedis(t, standalone(redis), { prefix: 'p:' });
  for (const { ready } of [mine, foreign, same]) await ready();
  await mine.store.put('links', KEY, Buffer.from('-'));
  t.ok(await same.store.get('links', KEY), 'shared by those who have the secret');
  t.equal(await foreign.store.get('links', KEY), undefined);
  t.strictSame(foreign.told.corrupt, [], 'their names do not even meet');
  for await (const _ of foreign.store.entries('links', '')) t.fail('nor do they see each other');
});

void t.test('an end that Redis does not keep to is kept to here', { skip }, async (t) => {
  await using redis = await startRedis();
  const clock = new FakeClock();
  const { store, ready } = openRedis(t, standalone(redis), { prefix: 'p:', storeClock: clock });
  await ready();
  await store.put('tokens', 'a', Buffer.from('-'), { expiresAt: ms(clock.now() + 5000) });
  await store.put('links', KEY, Buffer.from('-'));
  const [link = '', token = ''] = await redis.keys();
  t.ok(Number(await redis.command('PTTL', token)) <= 65_000, 'cleared away soon after its end');
  t.ok(Number(await redis.command('PTTL', link)) > 29 * 86_400_000, 'what has no end is kept for a month');
  await redis.command('PERSIST', token);
  await clock.advance(5000);
  t.equal(await store.get('tokens', 'a'), undefined);
});
