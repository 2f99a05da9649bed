import { randomBytes } from 'node:crypto';
import t from 'tap';
import { ms } from '../../src/lib/brand.ts';
import { SealedTokenStore } from '../../src/upstream/sealed-token-store.ts';
import { MemoryTokenStore } from './fixture.ts';

const CANARY = 'canary-token-value';
const KEY = 'docker.io library/alpine';

await t.test('what is put comes back, and the store beneath learns nothing', async (t) => {
  const store = new MemoryTokenStore();
  const sealed = new SealedTokenStore(store, randomBytes(32));
  await sealed.put(KEY, Buffer.from(CANARY), ms(1));
  await sealed.put('other', Buffer.from(CANARY), ms(1));
  t.equal(Buffer.from((await sealed.get(KEY)) ?? '').toString(), CANARY);
  const dump = [...store.values].map(([key, value]) => key + Buffer.from(value).toString('latin1'));
  t.notMatch(dump.join(), /canary|alpine|docker/);
  t.match([...store.values.keys()][0], /^[0-9a-f]{64}$/);
  const [one, other] = [...store.values.values()];
  t.not(
    Buffer.from(one ?? '')
      .subarray(0, 12)
      .toString('hex'),
    Buffer.from(other ?? '')
      .subarray(0, 12)
      .toString('hex'),
  );
  await sealed.delete(KEY);
  t.equal(await sealed.get(KEY), undefined);
});

await t.test('a value that was changed, cut, moved or sealed by another is a miss', async (t) => {
  const store = new MemoryTokenStore();
  const secret = randomBytes(32);
  const sealed = new SealedTokenStore(store, secret);
  await sealed.put(KEY, Buffer.from(CANARY), ms(1));
  await sealed.put('other', Buffer.from('another token'), ms(1));
  const [name = '', otherName = ''] = [...store.values.keys()];
  const good = Buffer.from(store.values.get(name) ?? '');
  for (let at = 0; at < good.length; at += 1) {
    const bad = Buffer.from(good);
    bad.writeUInt8(bad.readUInt8(at) ^ 1, at);
    store.values.set(name, bad);
    t.equal(await sealed.get(KEY), undefined, `byte ${at}`);
    store.values.set(name, good.subarray(0, at));
    t.equal(await sealed.get(KEY), undefined, `length ${at}`);
  }
  store.values.set(name, store.values.get(otherName) ?? good);
  t.equal(await sealed.get(KEY), undefined, 'moved from another key');
  store.values.set(name, good);
  t.ok(await new SealedTokenStore(store, secret).get(KEY), 'after a restart');
  t.equal(await new SealedTokenStore(store, randomBytes(32)).get(KEY), undefined, 'another secret');
  t.throws(() => new SealedTokenStore(store, randomBytes(16)), RangeError);
});
