import t, { type Test } from 'tap';
import { ms, type Milliseconds } from '../../src/lib/brand.ts';
import { EmbeddedStore } from '../../src/store/embedded-store.ts';
import { StoreError, type PutOptions, type Table } from '../../src/store/metadata-store.ts';
import { TieredStore, type SharedStore } from '../../src/store/tiered-store.ts';
import { encodeTag, tagRecords } from '../../src/cache/manifests/freshness.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { missing } from '../support/parts.ts';
import { startRedis } from '../support/redis.ts';
import { tempFolder } from '../support/temp.ts';
import { metadataStoreConformance } from './metadata-store-conformance.ts';
import { openRedis, standalone } from './redis/fixture.ts';

const skip = missing('redis-server');
const RULES = {
  tag: ms(60_000),
  deadline: ms(1000),
  staleIfError: ms(86_400_000),
  negative: ms(1000),
  verdict: ms(60_000),
  verdictGrace: ms(0),
};
const VALUE = Buffer.from('value');

/** The shared store as it is seen from an edge: another edge's writes, and an outage, at the test's word. */
class Site implements SharedStore {
  readonly values = new Map<string, { value: Uint8Array; expiresAt: Milliseconds | undefined }>();
  readonly asked: string[] = [];
  away = false;
  /** Answers wait for it. */
  gate: Promise<void> = Promise.resolve();

  async find(table: Table, key: string): ReturnType<SharedStore['find']> {
    this.asked.push(key);
    const found = this.values.get(`${table} ${key}`);
    await this.#answer();
    return found;
  }

  async put(table: Table, key: string, value: Uint8Array, { expiresAt }: PutOptions = {}): Promise<void> {
    await this.#answer();
    this.values.set(`${table} ${key}`, { value, expiresAt });
  }

  async delete(table: Table, key: string): Promise<void> {
    await this.#answer();
    this.values.delete(`${table} ${key}`);
  }

  async #answer(): Promise<void> {
    await this.gate;
    if (this.away) throw new StoreError('unavailable', 'away');
  }
}

interface EdgeParts {
  readonly store: TieredStore;
  readonly embedded: EmbeddedStore;
  readonly happened: string[];
}

function edge(t: Test, site: SharedStore, clock: FakeClock, folder = tempFolder(t)): EdgeParts {
  const happened: string[] = [];
  const embedded = new EmbeddedStore(folder, { clock });
  const store = new TieredStore({
    embedded,
    shared: site,
    journal: embedded.localRecords('state'),
    clock,
    tags: tagRecords(clock, () => RULES),
    events: {
      droppedWrite: () => void happened.push('dropped'),
      forgotDeletes: () => void happened.push('forgot'),
      storeFailed: (error) => void happened.push(String(error)),
    },
  });
  t.teardown(() => store.close());
  return { store, embedded, happened };
}

void t.test('conformance, with Redis', { skip }, async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.remove());
  metadataStoreConformance(t, (t) => {
    const folder = tempFolder(t);
    const prefix = `${folder}:`;
    return {
      open: async (clock) => {
        const { store, ready } = openRedis(t, standalone(redis), { prefix, storeClock: clock });
        await ready();
        return edge(t, store, clock as FakeClock, folder).store;
      },
    };
  });
});

void t.test('conformance, without anybody to share with', async (t) => {
  metadataStoreConformance(t, (t) => {
    const folder = tempFolder(t);
    const site = new Site();
    site.away = true;
    return { open: async (clock) => edge(t, site, clock as FakeClock, folder).store };
  });
});

void t.test('what another edge has put is found, and kept here with its end', async (t) => {
  const site = new Site();
  const clock = new FakeClock();
  const one = edge(t, site, clock);
  const two = edge(t, site, clock);
  await one.store.put('links', 'a', VALUE);
  await one.store.put('tokens', 'b', VALUE, { expiresAt: ms(clock.now() + 1000) });
  t.strictSame(await two.store.get('links', 'a'), VALUE);
  t.strictSame(await two.store.get('tokens', 'b'), VALUE);
  site.values.clear();
  t.ok(two.embedded.has('links', 'a'), 'for the workers');
  t.ok(two.embedded.has('tokens', 'b'));
  await clock.advance(1000);
  t.equal(await two.store.get('tokens', 'b'), undefined);
  site.asked.length = 0;
  await two.store.get('links', 'a');
  t.strictSame(site.asked, [], 'what is here needs no question');
});

void t.test('manifests come in elsewhere: one that is found is not kept here', async (t) => {
  const site = new Site();
  const clock = new FakeClock();
  await site.put('manifests', 'a', VALUE);
  const { store, embedded } = edge(t, site, clock);
  t.strictSame(await store.get('manifests', 'a'), VALUE);
  t.notOk(embedded.has('manifests', 'a'));
});

void t.test('tags: the later word of the upstream counts', async (t) => {
  const digest = (letter: string): Digest => digestOf(Buffer.from(letter), 'sha256');
  const clock = new FakeClock();
  const tag = (letter: string, age: number): Uint8Array =>
    encodeTag({ digest: digest(letter), checkedAt: ms(clock.now() - age) });
  const cases: [
    name: string,
    local: Uint8Array | undefined,
    shared: Uint8Array,
    chosen: Uint8Array | undefined,
  ][] = [
    ['theirs is later', tag('a', 90_000), tag('b', 10_000), tag('b', 10_000)],
    ['ours is later', tag('a', 90_000), tag('b', 100_000), tag('a', 90_000)],
    ['ours is fresh', tag('a', 10_000), tag('b', 0), tag('a', 10_000)],
    ['ours is not there', undefined, tag('b', 90_000), tag('b', 90_000)],
    ['theirs is of now, by a clock that is a little ahead', tag('a', 90_000), tag('b', -2000), tag('b', 0)],
    ['theirs is from the future', tag('a', 90_000), tag('b', -60_000), tag('a', 90_000)],
    ['theirs is from the future, and ours not there', undefined, tag('b', -60_000), undefined],
    ['theirs is no record', tag('a', 90_000), VALUE, tag('a', 90_000)],
    [
      'theirs has no time',
      tag('a', 90_000),
      encodeTag({ digest: digest('b'), checkedAt: ms(NaN) }),
      tag('a', 90_000),
    ],
  ];
  for (const [name, local, shared, chosen] of cases) {
    const site = new Site();
    const { store, embedded } = edge(t, site, clock);
    if (local !== undefined) await embedded.put('tags', 'a', local);
    await site.put('tags', 'a', shared);
    const plain = (value: Uint8Array | undefined): Buffer | undefined => value && Buffer.from(value);
    t.strictSame(plain(await store.get('tags', 'a')), plain(chosen), name);
    t.strictSame(plain(embedded.read('tags', 'a')), plain(chosen), 'and so do the workers');
    t.strictSame(site.asked, name === 'ours is fresh' ? [] : ['a']);
  }
});

void t.test('however many ask, the shared store is asked once', async (t) => {
  const site = new Site();
  const { store } = edge(t, site, new FakeClock());
  await site.put('links', 'a', VALUE);
  const all = await Promise.all(Array.from({ length: 50 }, () => store.get('links', 'a')));
  t.ok(all.every((value) => value !== undefined));
  t.strictSame(site.asked, ['a']);
});

void t.test('a slow shared store holds up no write and fills no memory', async (t) => {
  const site = new Site();
  const gate = Promise.withResolvers<void>();
  site.gate = gate.promise;
  const { store, embedded, happened } = edge(t, site, new FakeClock());
  for (let at = 0; at < 1010; at += 1) await store.put('links', `key ${at}`, VALUE);
  t.ok(embedded.has('links', 'key 1009'), 'all are here');
  t.equal(happened.length, 10, 'what is over the limit is dropped, and counted');
  gate.resolve();
  await store.close();
  t.equal(site.values.size, 1000, 'the rest arrives');
  const large = edge(t, site, new FakeClock());
  const again = Promise.withResolvers<void>();
  site.gate = again.promise;
  const megabytes = Buffer.alloc(4 * 1024 * 1024);
  for (let at = 0; at < 9; at += 1) void large.store.put('manifests', `${at}`, megabytes);
  t.equal(large.happened.length, 1, '32 MiB wait at most');
  again.resolve();
});

void t.test('what was deleted while the shared store was away does not come back', async (t) => {
  const site = new Site();
  const clock = new FakeClock();
  const folder = tempFolder(t);
  const first = edge(t, site, clock, folder);
  for (const key of ['a', 'b', 'c']) await first.store.put('links', key, VALUE);
  site.away = true;
  for (const key of ['a', 'b', 'c']) await first.store.delete('links', key);
  site.away = false;
  t.equal(site.values.size, 3, 'it still has them');
  t.equal(await first.store.get('links', 'a'), undefined);
  await first.store.put('links', 'b', VALUE);
  t.ok(await first.store.get('links', 'b'), 'but for what was put again');
  await first.store.close();

  const second = edge(t, site, clock, folder);
  t.equal(await second.store.get('links', 'c'), undefined, 'also after a restart');
  site.away = true;
  await clock.advance(5000);
  t.equal(site.values.size, 3, 'still away');
  site.away = false;
  await clock.advance(5000);
  await eventually(() => [...site.values.keys()].join() === 'links b', {
    what: 'it is told when it is back',
  });
  await site.put('links', 'a', VALUE);
  t.ok(await second.store.get('links', 'a'), 'what another edge puts afterwards counts again');
  await second.store.close();
  const third = edge(t, site, clock, folder);
  t.ok(await third.store.get('links', 'b'));
  t.strictSame([...third.embedded.localRecords('state').entries()], [], 'nothing is left in the journal');
});

void t.test('an answer that was under way during a delete is not believed', async (t) => {
  const site = new Site();
  const { store, embedded } = edge(t, site, new FakeClock());
  await site.put('links', 'a', VALUE);
  const gate = Promise.withResolvers<void>();
  site.gate = gate.promise;
  const asked = store.get('links', 'a');
  await eventually(() => site.asked.length === 1);
  const deleted = store.delete('links', 'a');
  gate.resolve();
  await deleted;
  t.equal(await asked, undefined);
  t.notOk(embedded.has('links', 'a'));
});
