import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { BlobIndex, blobKey, manifestKey } from '../../src/store/blob-index.ts';
import { EmbeddedStore } from '../../src/store/embedded-store.ts';
import { StoreLayout } from '../../src/store/layout.ts';
import { markCleanEnd, openMetadata, reconcile, type OpenedMetadata } from '../../src/store/recovery.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tempFolder } from '../support/temp.ts';

const clock = new FakeClock();

/** The storage folder of a keeper that was killed. */
function killedKeeper(t: Test): { layout: StoreLayout; data: string } {
  const folder = tempFolder(t);
  const child = spawnSync(
    process.execPath,
    [fileURLToPath(new URL('./unclean-end.ts', import.meta.url)), folder],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  t.equal(child.signal, 'SIGKILL');
  const layout = new StoreLayout(folder);
  t.ok(existsSync(layout.runningMarker));
  return { layout, data: join(layout.meta, 'data.mdb') };
}

async function openFor(t: Test, layout: StoreLayout): Promise<OpenedMetadata> {
  const opened = await openMetadata(layout, clock);
  t.teardown(() => opened.store.close());
  return opened;
}

/** Bytes that are neither a page of the store nor nothing. */
function overwrite(path: string, from: number, length: number): void {
  const content = readFileSync(path);
  content.fill('garbage!', from, Math.min(content.byteLength, from + length));
  writeFileSync(path, content);
}

const DAMAGE: Record<string, (data: string, size: number) => void> = {
  'cut to half': (data, size) => truncateSync(data, Math.floor(size / 2)),
  'cut to 4096 bytes': (data) => truncateSync(data, 4096),
  'cut to a few bytes': (data) => truncateSync(data, 100),
  'garbage in the middle': (data, size) => overwrite(data, Math.floor(size / 4), Math.floor(size / 2)),
  'garbage at its start': (data) => overwrite(data, 0, 16_384),
  'garbage all over': (data, size) => overwrite(data, 0, size),
};

for (const [name, damage] of Object.entries(DAMAGE)) {
  void t.test(`after an unclean end, metadata with ${name} is set aside`, async (t) => {
    const { layout, data } = killedKeeper(t);
    damage(data, statSync(data).size);
    const { store, quarantined } = await openFor(t, layout);
    t.equal(quarantined, join(layout.quarantine, `meta-${clock.now()}`));
    t.ok(existsSync(join(quarantined ?? '', 'data.mdb')), 'kept for a look');
    t.equal(store.scan(), 0);
    t.equal(store.complete, false, 'so that what the files tell is read in again');
    await store.put('tags', 'a', Buffer.from('new'));
    t.equal(Buffer.from(store.read('tags', 'a') ?? []).toString(), 'new');
    t.equal(statSync(layout.meta).mode & 0o777, 0o700);
    t.ok(existsSync(layout.runningMarker));
  });
}

void t.test('an unclean end alone costs nothing', async (t) => {
  const { layout } = killedKeeper(t);
  const { store, quarantined } = await openFor(t, layout);
  t.equal(quarantined, undefined);
  t.equal(Buffer.from(store.read('manifests', 'last') ?? []).toString(), 'bytes');
  t.equal(store.scan(), 6001);
});

void t.test('damage after a clean end is found at the second start, at the cost of the first', async (t) => {
  const { layout, data } = killedKeeper(t);
  await markCleanEnd(layout);
  t.notOk(existsSync(layout.runningMarker));
  overwrite(data, 0, 16_384);
  const script = fileURLToPath(new URL('./unclean-end.ts', import.meta.url));
  const first = spawnSync(process.execPath, [script, dirname(layout.root)], { stdio: 'ignore' });
  t.not(first.status, 0);
  t.ok(existsSync(layout.runningMarker), 'it was there before the store was touched');
  const { quarantined } = await openFor(t, layout);
  t.ok(quarantined);
});

void t.test('clean metadata is kept, and not read through', async (t) => {
  const layout = new StoreLayout(tempFolder(t));
  await layout.create();
  const first = await openMetadata(layout, clock);
  t.equal(first.quarantined, undefined);
  t.equal(statSync(layout.runningMarker).mode & 0o777, 0o600);
  t.equal(readFileSync(layout.runningMarker, 'utf8'), `${process.pid}\n`);
  await first.store.put('tags', 'a', Buffer.from('kept'));
  await first.store.close();
  await markCleanEnd(layout);
  await markCleanEnd(layout);
  const { store, quarantined } = await openFor(t, layout);
  t.equal(quarantined, undefined);
  t.equal(Buffer.from(store.read('tags', 'a') ?? []).toString(), 'kept');
  t.strictSame(readdirSync(layout.quarantine), []);
});

void t.test('a store that cannot be opened is set aside, whatever the marker says', async (t) => {
  const layout = new StoreLayout(tempFolder(t));
  await layout.create();
  mkdirSync(join(layout.meta, 'data.mdb'));
  const { store, quarantined } = await openFor(t, layout);
  t.ok(quarantined);
  t.equal(store.scan(), 0);
});

interface Reconciled {
  readonly layout: StoreLayout;
  readonly index: BlobIndex;
}

async function emptyStore(t: Test): Promise<Reconciled> {
  const layout = new StoreLayout(tempFolder(t));
  await layout.create();
  const store = new EmbeddedStore(layout.meta, { clock });
  t.teardown(() => store.close());
  const index = new BlobIndex(store.localRecords('index'), clock);
  await index.load();
  return { layout, index };
}

function plant(layout: StoreLayout, content: string, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  const digest = digestOf(Buffer.from(content), algorithm);
  mkdirSync(layout.blobFolder(digest), { recursive: true });
  writeFileSync(layout.blob(digest), content);
  return digest;
}

void t.test('the index is made to agree with the files', async (t) => {
  const { layout, index } = await emptyStore(t);
  const known = plant(layout, 'known');
  await index.add(blobKey(known), 5);
  const unknown = plant(layout, 'unknown, of 20 bytes');
  const long = plant(layout, 'sha512', 'sha512');
  const gone = digestOf(Buffer.from('its folder is not there'));
  await index.add(blobKey(gone), 100);
  const sibling = `${known.slice(0, -1)}${known.endsWith('0') ? '1' : '0'}` as Digest;
  await index.add(blobKey(sibling), 100);
  await index.add(manifestKey(gone), 7);
  t.strictSame(await reconcile(layout, index), { added: 2, dropped: 2 });
  t.equal(index.sizeOf(blobKey(unknown)), 20);
  t.equal(index.sizeOf(blobKey(long)), 6);
  t.equal(index.has(manifestKey(gone)), true, 'manifests have no blob files');
  t.equal(index.bytes, 5 + 20 + 6 + 7);
  t.strictSame(await reconcile(layout, index), { added: 0, dropped: 0 });
});

void t.test('what is no blob file is left alone', async (t) => {
  const { layout, index } = await emptyStore(t);
  const blob = plant(layout, 'blob');
  const folder = layout.blobFolder(blob);
  for (const name of ['README', 'ab', 'g'.repeat(64), `.${'a'.repeat(63)}`, 'A'.repeat(64), 'a'.repeat(128)])
    writeFileSync(join(folder, name), 'junk');
  const named = (content: string): string => {
    const path = layout.blob(digestOf(Buffer.from(content)));
    mkdirSync(dirname(path), { recursive: true });
    return path;
  };
  symlinkSync('/etc/hostname', named('a link to a file'));
  symlinkSync('/nowhere', named('a link to nothing'));
  mkdirSync(named('a folder'));
  t.equal(spawnSync('/usr/bin/mkfifo', [named('a pipe')]).status, 0);
  // A blob in the folder of another is not where anybody looks for it.
  const other = digestOf(Buffer.from('misplaced'));
  writeFileSync(join(folder, other.slice(7)), 'misplaced');
  mkdirSync(join(layout.blobs, 'md5', 'ab'), { recursive: true });
  writeFileSync(join(layout.blobs, 'md5', 'ab', 'a'.repeat(32)), 'junk');
  t.strictSame(await reconcile(layout, index), { added: 1, dropped: 0 });
  t.strictSame(
    [...index.all()].map(({ digest }) => digest),
    [blob],
  );
  // As they appear when somebody copies a store by hand, or when a file system was repaired.
  writeFileSync(join(layout.blobs, 'junk'), 'junk');
  writeFileSync(join(layout.blobs, 'sha256', 'junk'), 'junk');
  symlinkSync('/etc', join(layout.blobs, 'sha256', 'zz'));
  t.strictSame(await reconcile(layout, index), { added: 0, dropped: 0 }, 'files where folders should be');
});
