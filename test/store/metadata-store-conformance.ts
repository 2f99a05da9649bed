import * as fc from 'fast-check';
import type { Test } from 'tap';
import { ms } from '../../src/lib/brand.ts';
import type { Clock } from '../../src/lib/clock.ts';
import type { MetadataStore, Table } from '../../src/store/metadata-store.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Room for one store, empty at first. */
export interface StoreRoom {
  /** Opens the store in this room; after its `close`, opening again finds what was put. */
  open(clock: Clock): Promise<MetadataStore>;
}

/** Runs in a test, with whose end everything is cleared away. */
export type MakeRoom = (t: Test) => StoreRoom | Promise<StoreRoom>;

const TABLES: readonly Table[] = ['manifests', 'tags', 'links', 'tokens'];
const MiB = 1024 * 1024;

/** What every {@link MetadataStore} does. Registers one subtest per promise of the interface. */
export function metadataStoreConformance(t: Test, makeRoom: MakeRoom): void {
  const inStore = (
    name: string,
    test: (t: Test, store: MetadataStore, clock: FakeClock) => Promise<void>,
  ): void => {
    void t.test(name, async (t) => {
      const clock = new FakeClock();
      const store = await (await makeRoom(t)).open(clock);
      t.teardown(() => store.close());
      await test(t, store, clock);
    });
  };

  inStore('what was put is got, what was deleted is not', async (t, store) => {
    t.equal(await store.get('tags', 'a'), undefined);
    await store.put('tags', 'a', Buffer.from('one'));
    t.equal(await text(store, 'tags', 'a'), 'one');
    await store.put('tags', 'a', Buffer.from('two'));
    t.equal(await text(store, 'tags', 'a'), 'two');
    await store.delete('tags', 'a');
    t.equal(await store.get('tags', 'a'), undefined);
    await store.delete('tags', 'a');
    await store.put('tags', 'a', Buffer.from('three'));
    t.equal(await text(store, 'tags', 'a'), 'three');
  });

  inStore('tables do not see each other', async (t, store) => {
    for (const table of TABLES) await store.put(table, 'key', Buffer.from(table));
    await store.delete('links', 'key');
    for (const table of TABLES) {
      const expected = table === 'links' ? [] : [`key=${table}`];
      t.strictSame(await entries(store, table, ''), expected, table);
      t.equal(await text(store, table, 'key'), table === 'links' ? undefined : table);
    }
  });

  inStore('values are bytes: none, any, and 4 MiB of them', async (t, store) => {
    const values = [new Uint8Array(), Uint8Array.of(0), Buffer.from([...Array(256).keys()]), noise(4 * MiB)];
    for (const [at, value] of values.entries()) await store.put('manifests', `${at}`, value);
    for (const [at, value] of values.entries()) {
      const got = await store.get('manifests', `${at}`);
      t.ok(got !== undefined && Buffer.compare(got, value) === 0, `${value.byteLength} bytes`);
    }
    const listed: Uint8Array[] = [];
    for await (const [, value] of store.entries('manifests', '')) listed.push(value);
    t.strictSame(
      listed.map((value) => value.byteLength),
      values.map((value) => value.byteLength),
    );
    t.ok(listed.every((value, at) => Buffer.compare(value, values[at] ?? Buffer.of(1)) === 0));
  });

  inStore('a value is a copy: neither side changes the other’s', async (t, store) => {
    const value = Buffer.from('put');
    const putting = store.put('tags', 'a', value);
    value.fill(0);
    await putting;
    const got = await store.get('tags', 'a');
    t.equal(got && Buffer.from(got).toString(), 'put');
    got?.fill(0);
    await store.put('tags', 'b', Buffer.from('other'));
    t.equal(await text(store, 'tags', 'a'), 'put');
  });

  inStore('a value is gone when its time has come', async (t, store, clock) => {
    await store.put('tokens', 'short', Buffer.from('s'), { expiresAt: ms(clock.now() + 1000) });
    await store.put('tokens', 'long', Buffer.from('l'), { expiresAt: ms(clock.now() + 60_000) });
    await store.put('tokens', 'past', Buffer.from('p'), { expiresAt: ms(clock.now() - 1) });
    await store.put('tokens', 'ever', Buffer.from('e'));
    t.strictSame(await entries(store, 'tokens', ''), ['ever=e', 'long=l', 'short=s']);
    t.equal(await store.get('tokens', 'past'), undefined);
    await clock.advance(999);
    t.equal(await text(store, 'tokens', 'short'), 's');
    await clock.advance(1);
    t.equal(await store.get('tokens', 'short'), undefined);
    t.strictSame(await entries(store, 'tokens', ''), ['ever=e', 'long=l']);
    await store.put('tokens', 'long', Buffer.from('kept'));
    await clock.advance(365 * 86_400_000);
    t.strictSame(await entries(store, 'tokens', ''), ['ever=e', 'long=kept'], 'a new value has its own time');
  });

  inStore('entries have the prefix, in key order', async (t, store) => {
    for (const key of ['b', 'a/b', 'a', 'ab', 'a/a', 'a/', 'a0', 'A', 'a/a/a', 'a/é', 'a/😀'])
      await store.put('links', key, Buffer.from('-'));
    const keys = async (prefix: string): Promise<string[]> =>
      (await entries(store, 'links', prefix)).map((entry) => entry.slice(0, -2));
    t.strictSame(await keys('a/'), ['a/', 'a/a', 'a/a/a', 'a/b', 'a/é', 'a/😀']);
    t.strictSame(await keys('a/a'), ['a/a', 'a/a/a']);
    t.strictSame(await keys('a/é'), ['a/é']);
    t.strictSame(await keys('c'), []);
    t.strictSame(await keys(''), ['A', 'a', 'a/', 'a/a', 'a/a/a', 'a/b', 'a/é', 'a/😀', 'a0', 'ab', 'b']);
  });

  inStore('keys of any script, and of 400 bytes', async (t, store) => {
    const long = ['x', 'y', 'z'].map((end) => `${'k'.repeat(399)}${end}`);
    for (const key of [...long, `${'é'.repeat(199)}xx`, '名前/タグ:最新', 'key with spaces', 'a:b@c%2f'])
      await store.put('tags', key, Buffer.from(key));
    for (const key of long) t.equal(await text(store, 'tags', key), key);
    t.equal((await entries(store, 'tags', 'k'.repeat(399))).length, 3);
    t.equal((await entries(store, 'tags', '')).length, 7);
  });

  void t.test('the same as a sorted map, whatever is done', async (t) => {
    const key = fc.string({
      unit: fc.constantFrom('a', 'b', '/', ':', 'é', '😀', '～'),
      minLength: 1,
      maxLength: 5,
    });
    const step = fc.tuple(fc.constantFrom('put', 'put', 'delete'), key, fc.uint8Array({ maxLength: 9 }));
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 25 }),
        fc.oneof(key, fc.constant('')),
        async (steps, prefix) => {
          const store = await (await makeRoom(t)).open(new FakeClock());
          const model = new Map<string, string>();
          for (const [verb, key, value] of steps) {
            if (verb === 'put') model.set(key, Buffer.from(value).toString('latin1'));
            else model.delete(key);
            await (verb === 'put' ? store.put('tags', key, value) : store.delete('tags', key));
          }
          const expected = [...model]
            .filter(([key]) => key.startsWith(prefix))
            .toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
            .map(([key, value]) => `${key}=${value}`);
          const found = await entries(store, 'tags', prefix);
          await store.close();
          return JSON.stringify(found) === JSON.stringify(expected);
        },
      ),
      { numRuns: 30 },
    );
  });

  inStore('puts at the same time: all keys are there, the last of one key wins', async (t, store) => {
    const puts: Promise<void>[] = [];
    for (let at = 0; at < 300; at += 1) {
      puts.push(
        store.put('tags', `key ${at}`, Buffer.from(`${at}`)),
        store.put('tags', 'one', Buffer.from(`${at}`)),
      );
    }
    await Promise.all(puts);
    t.equal((await entries(store, 'tags', 'key ')).length, 300);
    t.equal(await text(store, 'tags', 'key 123'), '123');
    t.equal(await text(store, 'tags', 'one'), '299');
    await Promise.all([store.put('tags', 'one', Buffer.from('again')), store.delete('tags', 'one')]);
    t.equal(await store.get('tags', 'one'), undefined);
  });

  void t.test('opened again, it holds what it held', async (t) => {
    const room = await makeRoom(t);
    const clock = new FakeClock();
    const first = await room.open(clock);
    await first.put('manifests', 'kept', Buffer.from('bytes'));
    await first.put('tokens', 'short', Buffer.from('s'), { expiresAt: ms(clock.now() + 1000) });
    await first.put('tokens', 'long', Buffer.from('l'), { expiresAt: ms(clock.now() + 9000) });
    await first.put('tags', 'gone', Buffer.from('-'));
    await first.delete('tags', 'gone');
    await first.close();
    await clock.advance(1000);
    const again = await room.open(clock);
    t.teardown(() => again.close());
    t.equal(await text(again, 'manifests', 'kept'), 'bytes');
    t.strictSame(await entries(again, 'tokens', ''), ['long=l']);
    t.equal(await again.get('tags', 'gone'), undefined);
  });
}

async function text(store: MetadataStore, table: Table, key: string): Promise<string | undefined> {
  const value = await store.get(table, key);
  return value && Buffer.from(value).toString();
}

async function entries(store: MetadataStore, table: Table, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const [key, value] of store.entries(table, prefix))
    found.push(`${key}=${Buffer.from(value).toString('latin1')}`);
  return found;
}

/** Bytes that no compression makes smaller, the same each time. */
function noise(length: number): Uint8Array {
  const bytes = Buffer.alloc(length);
  let state = 1;
  for (let at = 0; at < length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}
