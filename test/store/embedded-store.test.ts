import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { EmbeddedStore } from '../../src/store/embedded-store.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tempFolder } from '../support/temp.ts';
import { metadataStoreConformance } from './metadata-store-conformance.ts';

void t.test('conformance', async (t) => {
  metadataStoreConformance(t, (t) => {
    const folder = tempFolder(t);
    return { open: async (clock) => new EmbeddedStore(folder, { clock }) };
  });
});

void t.test('another process sees a value as soon as it is told of it', async (t) => {
  const folder = tempFolder(t);
  const store = new EmbeddedStore(folder, { clock: new FakeClock() });
  t.teardown(() => store.close());
  const rounds = 20;
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('./read-only-reader.ts', import.meta.url)), folder, `${rounds}`],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  t.teardown(() => child.kill('SIGKILL'));
  const closed = once(child, 'close');
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    const [round, seen] = line.split(' ');
    if (seen !== 'nothing') continue;
    await store.put('tags', `key ${round}`, Buffer.from(`value-${round}`));
    child.stdin.write('.');
  }
  t.strictSame(await closed, [0, null]);
  const expected = Array.from({ length: rounds }, (_, at) => [`${at} nothing`, `${at} value-${at} true`]);
  t.strictSame(said, expected.flat());
});

void t.test('a reader cannot write', async (t) => {
  const folder = tempFolder(t);
  const clock = new FakeClock();
  const store = new EmbeddedStore(folder, { clock });
  t.teardown(() => store.close());
  await store.put('tags', 'a', Buffer.from('-'));
  t.throws(() => new EmbeddedStore(join(folder, 'absent'), { clock, readOnly: true }), {
    name: 'StoreError',
  });
});

void t.test('the local look agrees with the interface', async (t) => {
  const clock = new FakeClock();
  const store = new EmbeddedStore(tempFolder(t), { clock });
  t.teardown(() => store.close());
  await store.put('links', 'here', new Uint8Array());
  t.equal(store.has('links', 'here'), true, 'being there is what counts, with no bytes at all');
  t.equal(store.read('links', 'here')?.byteLength, 0);
  t.equal(store.has('links', 'there'), false);
  t.equal(store.has('tags', 'here'), false);
});

void t.test('local records live beside the tables', async (t) => {
  const folder = tempFolder(t);
  const clock = new FakeClock();
  const store = new EmbeddedStore(folder, { clock });
  const index = store.localRecords('index');
  await Promise.all([
    index.put('b', Buffer.of(2)),
    index.put('a', Buffer.of(1)),
    index.put('c', Buffer.of(3)),
  ]);
  await index.delete('c');
  await index.delete('never there');
  const all = (records = index): [string, number[]][] =>
    [...records.entries()].map(([key, value]) => [key, [...value]]);
  t.strictSame(all(), [
    ['a', [1]],
    ['b', [2]],
  ]);
  t.strictSame(all(store.localRecords('fills')), []);
  t.equal(store.scan(), 2);
  await store.close();
  const again = new EmbeddedStore(folder, { clock });
  t.teardown(() => again.close());
  t.equal(all(again.localRecords('index')).length, 2);
});

void t.test('complete only once it was said', async (t) => {
  const folder = tempFolder(t);
  const clock = new FakeClock();
  const store = new EmbeddedStore(folder, { clock });
  t.equal(store.complete, false);
  await store.put('manifests', 'a', Buffer.from('-'));
  t.equal(store.complete, false, 'content alone says nothing');
  await store.markComplete();
  t.equal(store.complete, true);
  await store.close();
  const again = new EmbeddedStore(folder, { clock });
  t.teardown(() => again.close());
  t.equal(again.complete, true);
});

void t.test('what cannot be opened is a StoreError', async (t) => {
  const folder = tempFolder(t);
  mkdirSync(join(folder, 'data.mdb'));
  t.throws(() => new EmbeddedStore(folder, { clock: new FakeClock() }), {
    name: 'StoreError',
    kind: 'corrupt',
  });
});
