import * as fc from 'fast-check';
import t from 'tap';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { BlobIndex, blobKey, manifestKey, type IndexKey } from '../../src/store/blob-index.ts';
import { EmbeddedStore, type LocalRecords } from '../../src/store/embedded-store.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tempFolder, type Teardown } from '../support/temp.ts';

const digest = (name: string): Digest => digestOf(Buffer.from(name));
const key = (name: string): IndexKey => blobKey(digest(name));
const NAMES = new Map(Array.from('abcdefghijklmnopqrstuvwxyz', (name) => [digest(name), name]));

const evictable = (index: BlobIndex): string =>
  Array.from(index.evictable(), ([, stored]) => NAMES.get(stored.digest) ?? '?').join('');

function records(t: Teardown): LocalRecords {
  const store = new EmbeddedStore(tempFolder(t), { clock: new FakeClock() });
  t.teardown(() => store.close());
  return store.localRecords('index');
}

/** An index over these records, as a keeper that starts has it. */
async function started(records: LocalRecords, clock: FakeClock): Promise<BlobIndex> {
  const index = new BlobIndex(records, clock);
  await index.load();
  return index;
}

/** Adds one blob of 10 bytes per letter, a second apart. */
async function addAll(index: BlobIndex, clock: FakeClock, names: string): Promise<void> {
  for (const name of names.split('')) {
    await clock.advance(1000);
    await index.add(key(name), 10);
  }
}

/** Records whose reading can be held up in the middle. */
function heldUp(records: LocalRecords, during: () => void): LocalRecords {
  return {
    put: (key, value) => records.put(key, value),
    delete: (key) => records.delete(key),
    *entries() {
      yield* Array.from(records.entries());
      during();
    },
  };
}

void t.test('least recently used first, and the sum of the bytes', async (t) => {
  const clock = new FakeClock();
  const index = await started(records(t), clock);
  await addAll(index, clock, 'abcde');
  t.equal(evictable(index), 'abcde');
  index.touch(key('b'));
  index.touch(key('a'));
  index.touch(key('nobody knows it'));
  t.equal(evictable(index), 'cdeba');
  await index.add(key('d'), 25);
  t.equal(evictable(index), 'cebad');
  t.equal(index.bytes, 65);
  t.equal(index.count, 5);
  t.equal(index.sizeOf(key('d')), 25);
  t.equal(index.sizeOf(key('f')), undefined);
  await index.remove(key('c'));
  await index.remove(key('c'));
  t.equal(index.has(key('c')), false);
  t.equal(index.bytes, 55);
  await index.add(key('empty'), 0);
  t.equal(index.bytes, 56, 'an empty blob takes an entry, too');
});

void t.test('a blob and a manifest of one digest are two things', async (t) => {
  const index = await started(records(t), new FakeClock());
  await index.add(key('a'), 10);
  await index.add(manifestKey(digest('a')), 3);
  t.strictSame(
    Array.from(index.evictable(), ([key, stored]) => [key, stored]),
    [
      [key('a'), { kind: 'blob', digest: digest('a'), size: 10 }],
      [manifestKey(digest('a')), { kind: 'manifest', digest: digest('a'), size: 3 }],
    ],
  );
  await index.remove(key('a'));
  t.equal(index.bytes, 3);
});

void t.test('what is pinned is never offered', async (t) => {
  const clock = new FakeClock();
  const index = await started(records(t), clock);
  await addAll(index, clock, 'abc');
  index.pinOnly(new Set([key('a'), key('d')]));
  t.equal(evictable(index), 'bc');
  t.equal(index.pinnedBytes, 10, 'what is not here yet has no bytes');
  await index.add(key('a'), 12);
  await index.add(key('d'), 7);
  t.equal(evictable(index), 'bc', 'pinned when it comes, and when it is fetched again');
  t.equal(index.pinnedBytes, 19);
  t.ok(index.isPinned(key('d')));
  index.pinOnly(new Set([key('b')]));
  t.equal(evictable(index), 'cad');
});

void t.test('removing while looking loses nobody', async (t) => {
  const clock = new FakeClock();
  const index = await started(records(t), clock);
  await addAll(index, clock, 'abcdef');
  const seen: (string | undefined)[] = [];
  for (const [key, stored] of index.evictable()) {
    seen.push(NAMES.get(stored.digest));
    await index.remove(key);
  }
  t.strictSame(seen, Array.from('abcdef'));
  t.equal(index.bytes, 0);
});

void t.test(
  'a restart keeps order and sizes, and what is pinned before the load stays out of it',
  async (t) => {
    const clock = new FakeClock();
    const kept = records(t);
    const first = await started(kept, clock);
    await addAll(first, clock, 'abcdef');
    await first.remove(key('e'));
    await clock.advance(1000);
    first.touch(key('a'));
    await first.flush();
    await clock.advance(1000);
    first.touch(key('b'));
    const second = new BlobIndex(kept, clock);
    t.equal(second.loaded, false);
    t.equal(second.count, 0);
    second.pinOnly(new Set([key('c')]));
    await second.load();
    t.equal(second.loaded, true);
    t.equal(evictable(second), 'bdfa', 'the use of b was never flushed');
    t.equal(second.bytes, 50);
    t.strictSame(
      Array.from(second.all())
        .filter(({ pinned }) => pinned)
        .map(({ digest }) => NAMES.get(digest)),
      ['c'],
    );
  },
);

void t.test('a flush writes each use once', async (t) => {
  const clock = new FakeClock();
  const kept = records(t);
  let puts = 0;
  const counted: LocalRecords = {
    ...kept,
    put: (key, value) => {
      puts += 1;
      return kept.put(key, value);
    },
  };
  const index = await started(counted, clock);
  await addAll(index, clock, 'abc');
  puts = 0;
  for (let times = 0; times < 100; times += 1) index.touch(key('a'));
  index.touch(key('b'));
  await index.remove(key('b'));
  t.equal(puts, 0, 'a use alone writes nothing');
  await index.flush();
  t.equal(puts, 1);
  await index.flush();
  t.equal(puts, 1);
  t.equal(evictable(await started(kept, clock)), 'ca', 'and does not bring back what was removed');
});

void t.test('what happens during a load is newer than what is loaded', async (t) => {
  const clock = new FakeClock();
  const kept = records(t);
  const first = await started(kept, clock);
  await addAll(first, clock, 'abcdefh');
  await clock.advance(1000);
  let during: Promise<unknown> = Promise.resolve();
  const index: BlobIndex = new BlobIndex(
    heldUp(kept, () => {
      index.touch(key('c'));
      index.touch(key('f'));
      index.touch(key('d'));
      index.touch(key('c'));
      index.touch(key('nobody knows it'));
      during = Promise.all([
        index.remove(key('b')),
        index.add(key('g'), 10),
        index.add(key('e'), 15),
        index.add(key('a'), 10),
        index.remove(key('f')),
        index.add(key('f'), 30),
      ]);
    }),
    clock,
  );
  index.pinOnly(new Set([key('a')]));
  await Promise.all([index.load(), index.remove(key('d')), index.add(key('d'), 11)]);
  await during;
  t.equal(index.has(key('b')), false, 'removed during the load, it does not come back');
  t.equal(evictable(index), 'hcgefd', 'h alone was not used since');
  t.equal(index.bytes, 10 + 10 + 10 + 11 + 10 + 15 + 30);
  await index.flush();
  const again = await started(kept, clock);
  t.equal(again.has(key('b')), false);
  t.equal(again.bytes, index.bytes);
});

void t.test('damaged records are passed over', async (t) => {
  const clock = new FakeClock();
  const kept = records(t);
  const first = await started(kept, clock);
  await addAll(first, clock, 'abc');
  const [good = Buffer.of()] = Array.from(kept.entries(), ([, value]) => Buffer.from(value));
  const changed = (at: number, value: number): Buffer => {
    const record = Buffer.from(good);
    record.writeDoubleLE(value, at);
    return record;
  };
  const damaged: Uint8Array[] = [Buffer.of(), good.subarray(0, 16), Buffer.concat([good, Buffer.of(0)])];
  for (const size of [NaN, -1, 0, 0.5, Infinity, 2 ** 60]) damaged.push(changed(0, size));
  for (const lastUsed of [NaN, Infinity, -Infinity]) damaged.push(changed(8, lastUsed));
  for (const [at, record] of damaged.entries()) await kept.put(key(`damaged ${at}`), record);
  for (const name of [
    'nonsense',
    'm nonsense',
    'sha256:../../../etc/passwd',
    ` ${digest('d')}`,
    `m  ${digest('d')}`,
  ])
    await kept.put(name, good);
  const index = await started(kept, clock);
  t.equal(evictable(index), 'abc');
  t.equal(index.bytes, 30);
});

void t.test('the same as a sorted list, whatever is done, also after a restart', async (t) => {
  const name = fc.constantFrom(...Array.from('abcdef'));
  const step = fc.tuple(
    fc.constantFrom('add', 'add', 'touch', 'remove', 'pin', 'unpin', 'restart'),
    name,
    fc.nat(50),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const clock = new FakeClock();
      const kept = memoryRecords();
      let index = await started(kept, clock);
      let model: { name: string; size: number }[] = [];
      let pins = new Set<string>();
      for (const [verb, name, size] of steps) {
        await clock.advance(1);
        const known = model.find((entry) => entry.name === name);
        const others = model.filter((entry) => entry !== known);
        if (verb === 'add') {
          await index.add(key(name), size);
          model = [...others, { name, size: Math.max(1, size) }];
        } else if (verb === 'touch') {
          index.touch(key(name));
          if (known !== undefined) model = [...others, known];
        } else if (verb === 'remove') {
          await index.remove(key(name));
          model = others;
        } else if (verb === 'restart') {
          await index.flush();
          index = await started(kept, clock);
          pins = new Set();
        } else {
          if (verb === 'pin') pins.add(name);
          else pins.delete(name);
          index.pinOnly(new Set([...pins].map((pinned) => key(pinned))));
        }
      }
      const unpinned = model.filter(({ name }) => !pins.has(name)).map(({ name }) => name);
      const bytes = model.reduce((sum, { size }) => sum + size, 0);
      return evictable(index) === unpinned.join('') && index.bytes === bytes && index.count === model.length;
    }),
    { numRuns: 200 },
  );
  t.pass();
});

function memoryRecords(): LocalRecords {
  const kept = new Map<string, Uint8Array>();
  return {
    put: async (key, value) => void kept.set(key, value),
    delete: async (key) => void kept.delete(key),
    entries: () => kept.entries(),
  };
}
