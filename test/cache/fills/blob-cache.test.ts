import { execFileSync } from 'node:child_process';
import { constants, openSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import t from 'tap';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { startCentral, type Central } from '../../support/central.ts';
import { randomBlob } from '../../support/images.ts';
import { tempFolder, type Teardown } from '../../support/temp.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { BlobFiles, OpenFile } from '../../../src/store/blob-files.ts';
import { blobKey } from '../../../src/store/blob-index.ts';
import { bodyOf, CacheSite, digest, readAll, readPart, repository } from '../cache-site.ts';

const MB = 1_000_000;

async function central(test: Teardown): Promise<Central> {
  const started = await startCentral();
  test.teardown(() => started.stop());
  return started;
}

void t.test('a blob that is here for one repository is not shown to another that lacks it', async (t) => {
  const upstream = await central(t);
  const secret = upstream.addBlob('private/app', randomBlob(10_000, 1));
  const site = await CacheSite.open(t, upstream);
  await readAll(await bodyOf(site.worker(), 'private/app', secret.digest));
  await eventually(() => site.stored(digest(secret.digest)));
  const found = await site.worker().blob(repository('public/app'), digest(secret.digest));
  t.equal(found.kind, 'unknown');
  t.equal((await site.worker().blobSize(repository('public/app'), digest(secret.digest))).kind, 'unknown');
  t.equal(
    upstream.requests('HEAD', 'blob', secret.digest),
    1,
    'the upstream was asked once, the rest is remembered',
  );
});

void t.test(
  'a shared layer is transferred once for two repositories, after the upstream has said yes',
  async (t) => {
    const upstream = await central(t);
    const shared = randomBlob(10_000, 2);
    upstream.addBlob('team/a', shared);
    upstream.addBlob('team/b', shared);
    const site = await CacheSite.open(t, upstream);
    for (const name of ['team/a', 'team/b', 'team/b']) {
      const { content } = await readAll(await bodyOf(site.worker(), name, shared.digest));
      t.ok(content.equals(shared.bytes));
      await eventually(() => site.stored(digest(shared.digest)));
    }
    t.equal(upstream.requests('GET', 'blob'), 1);
    t.equal(upstream.requests('HEAD', 'blob'), 1);
  },
);

void t.test('a running fill is joined from another repository only when that one may have it', async (t) => {
  const upstream = await central(t);
  const blob = randomBlob(2 * MB, 3);
  upstream.addBlob('team/a', blob);
  upstream.addBlob('team/b', blob);
  const rest = Promise.withResolvers<void>();
  upstream.on({ kind: 'blob', method: 'GET' }, { kind: 'stall', afterBytes: MB, until: rest.promise });
  const site = await CacheSite.open(t, upstream);
  const first = await bodyOf(site.worker(), 'team/a', blob.digest);
  t.equal((await site.worker().blob(repository('other/x'), digest(blob.digest))).kind, 'unknown');
  const second = await site.worker().blob(repository('team/b'), digest(blob.digest));
  t.match(second, { kind: 'blob', result: 'collapsed' });
  rest.resolve();
  if (second.kind === 'blob') t.ok((await readAll(second.body)).content.equals(blob.bytes));
  await readAll(first);
  t.equal(upstream.requests('GET', 'blob'), 1);
});

void t.test('what another repository was refused says nothing about this one', async (t) => {
  const upstream = await central(t);
  const blob = upstream.addBlob('team/b', randomBlob(10_000, 4));
  const answer = Promise.withResolvers<void>();
  upstream.on({ repository: 'other/x', method: 'GET' }, { kind: 'stall', until: answer.promise });
  const site = await CacheSite.open(t, upstream);
  const refused = site.worker().blob(repository('other/x'), digest(blob.digest));
  await eventually(() => upstream.requests('GET', 'blob') === 1);
  const allowed = site.worker().blob(repository('team/b'), digest(blob.digest));
  answer.resolve();
  t.equal((await refused).kind, 'unknown');
  const found = await allowed;
  t.equal(found.kind, 'blob');
  if (found.kind === 'blob') t.ok((await readAll(found.body)).content.equals(blob.bytes));
});

void t.test('HEAD of a cold blob asks with HEAD and starts no fill', async (t) => {
  const upstream = await central(t);
  const blob = upstream.addBlob('team/app', randomBlob(12_345, 5));
  const site = await CacheSite.open(t, upstream);
  t.same(await site.worker().blobSize(repository('team/app'), digest(blob.digest)), {
    kind: 'size',
    size: 12_345,
    stored: false,
  });
  t.equal(upstream.requests('GET', 'blob'), 0);
  await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  await eventually(() => site.stored(digest(blob.digest)));
  t.match(await site.worker().blobSize(repository('team/app'), digest(blob.digest)), {
    size: 12_345,
    stored: true,
  });
  t.equal(upstream.requests('HEAD', 'blob'), 1);
});

void t.test('what the upstream does not have is asked once per window', async (t) => {
  const upstream = await central(t);
  upstream.addBlob('team/app', randomBlob(10, 6));
  const clock = new FakeClock();
  const site = await CacheSite.open(t, upstream, { clock });
  const absent = digest(randomBlob(10, 7).digest);
  for (let n = 0; n < 5; n += 1)
    t.equal((await site.worker().blob(repository('team/app'), absent)).kind, 'unknown');
  t.equal(upstream.requests('GET', 'blob'), 1);
  await eventually(() => site.blobs.fillsRunning === 0);
  await clock.advance(16_000);
  t.equal((await site.worker().blob(repository('team/app'), absent)).kind, 'unknown');
  t.equal(upstream.requests('GET', 'blob'), 2);
});

void t.test('an upstream that is away is told so, and nothing is remembered of it', async (t) => {
  const upstream = await central(t);
  const blob = upstream.addBlob('team/app', randomBlob(1000, 8));
  const site = await CacheSite.open(t, upstream);
  await upstream.stop();
  t.match(await site.worker().blob(repository('team/app'), digest(blob.digest)), { kind: 'unavailable' });
  t.same(await site.partials(), [], 'no empty partial file is left');
  await upstream.start();
  await eventually(() => site.upstream.available);
  t.ok((await readAll(await bodyOf(site.worker(), 'team/app', blob.digest))).content.equals(blob.bytes));
});

void t.test(
  'over the budget, the least recently used go; pinned ones and those just used stay',
  async (t) => {
    const upstream = await central(t);
    const blobs = [1, 2, 3, 4, 5].map((n) => upstream.addBlob('team/app', randomBlob(MB, 20 + n)));
    const site = await CacheSite.open(t, upstream, { maxBytes: 3.5 * MB });
    const worker = site.worker();
    for (const [n, blob] of blobs.entries()) {
      await readAll(await bodyOf(worker, 'team/app', blob.digest));
      await eventually(() => site.happened.filter((what) => what === 'ended stored').length === n + 1);
      if (n === 0) site.index.pinOnly(new Set([blobKey(digest(blob.digest))]));
      if (n >= 2) site.index.touch(blobs[1]?.digest as never);
    }
    const here = await Promise.all(blobs.map((blob) => site.stored(digest(blob.digest))));
    t.same(here, [true, true, false, false, true]);
    t.ok(site.index.bytes <= 3.5 * MB);
  },
);

void t.test('a reader goes on reading what was evicted under it', async (t) => {
  const upstream = await central(t);
  const blob = upstream.addBlob('team/app', randomBlob(MB, 30));
  const site = await CacheSite.open(t, upstream, { maxBytes: 1.5 * MB });
  const worker = site.worker();
  await readAll(await bodyOf(worker, 'team/app', blob.digest));
  await eventually(() => site.stored(digest(blob.digest)));
  const body = await bodyOf(worker, 'team/app', blob.digest);
  await readPart(body, 0, 10);
  const next = upstream.addBlob('team/app', randomBlob(MB, 31));
  await readAll(await bodyOf(worker, 'team/app', next.digest));
  await eventually(async () => !(await site.stored(digest(blob.digest))));
  t.ok((await readAll(body)).content.equals(blob.bytes));
});

void t.test('over the high watermark of the file system blobs go until it holds', async (t) => {
  const upstream = await central(t);
  const blobs = [1, 2, 3].map((n) => upstream.addBlob('team/app', randomBlob(MB, 40 + n)));
  let othersUse = 0;
  const site: CacheSite = await CacheSite.open(t, upstream, {
    highWatermark: 0.8,
    filesystem: async () => ({ totalBytes: 10 * MB, availableBytes: 10 * MB - othersUse - site.index.bytes }),
  });
  for (const blob of blobs) await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  await eventually(() => site.index.count === 3);
  othersUse = 6 * MB;
  await site.evictor.settle();
  t.equal(site.index.count, 2);
  othersUse = 9 * MB;
  await site.evictor.settle();
  t.equal(site.index.count, 0, 'everything goes rather than the disk');
});

void t.test('nothing is evicted before the order of the last run is known', async (t) => {
  const upstream = await central(t);
  const site = await CacheSite.open(t, upstream, { maxBytes: 100 });
  t.ok(site.index.loaded);
  const folder = tempFolder(t);
  const young = await CacheSite.open(t, upstream, { folder, maxBytes: 100 });
  Object.defineProperty(young.index, 'loaded', { value: false });
  await young.index.add(digest(randomBlob(10, 50).digest) as never, 5000);
  await young.evictor.settle();
  t.equal(young.index.count, 1);
});

void t.test('a blob larger than the whole budget is streamed through, verified, and not kept', async (t) => {
  const upstream = await central(t);
  const blob = upstream.addBlob('team/app', randomBlob(3 * MB, 60));
  const site = await CacheSite.open(t, upstream, { maxBytes: MB });
  const found = await site.worker().blob(repository('team/app'), digest(blob.digest));
  t.match(found, { kind: 'blob', result: 'bypass' });
  if (found.kind === 'blob') t.ok((await readAll(found.body)).content.equals(blob.bytes));
  t.notOk(await site.stored(digest(blob.digest)));
  upstream.on({ kind: 'blob', method: 'GET' }, { kind: 'corrupt', offset: 2 * MB });
  const wrong = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  t.ok(wrong.error, 'wrong bytes are never served whole on this way either');
  t.ok(wrong.content.byteLength < blob.size);
});

void t.test('a range past the disk reads from the right place', async (t) => {
  const upstream = await central(t);
  const blob = upstream.addBlob('team/app', randomBlob(3 * MB, 61));
  const site = await CacheSite.open(t, upstream, { maxBytes: MB });
  const { content } = await readAll(
    await bodyOf(site.worker(), 'team/app', blob.digest),
    2_000_001,
    2_999_999,
  );
  t.ok(content.equals(blob.bytes.subarray(2_000_001)));
});

/** A disk that takes nothing: every write to /dev/full is ENOSPC. */
class FullDisk extends BlobFiles {
  override async openPartialForWriting(_digest: Digest): Promise<OpenFile> {
    return new OpenFile(openSync('/dev/full', constants.O_RDWR), 0);
  }
}

void t.test('a disk that is full from the first byte: every client gets its bytes', async (t) => {
  const upstream = await central(t);
  const blob = upstream.addBlob('team/app', randomBlob(3 * MB, 62));
  const site = await CacheSite.open(t, upstream, { files: (layout) => new FullDisk(layout) });
  const bodies = await Promise.all([1, 2, 3].map(() => bodyOf(site.worker(), 'team/app', blob.digest)));
  for (const { content, error } of await Promise.all(bodies.map((body) => readAll(body)))) {
    t.equal(error, undefined);
    t.ok(content.equals(blob.bytes));
  }
  t.ok(site.happened.includes('refused ENOSPC'));
  await eventually(() => site.happened.includes('ended detached'));
});

void t.test(
  'a disk that fills up in the middle: readers go on past it, with one hash over both parts',
  async (t) => {
    const folder = tempFolder(t, 'small-disk');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', folder]);
    t.teardown(() => execFileSync('umount', ['-l', folder]));
    const upstream = await central(t);
    const blob = upstream.addBlob('team/app', randomBlob(8 * MB, 63));
    const site = await CacheSite.open(t, upstream, { folder });
    const bodies = await Promise.all([1, 2].map(() => bodyOf(site.worker(), 'team/app', blob.digest)));
    for (const { content, error } of await Promise.all(bodies.map((body) => readAll(body)))) {
      t.equal(error, undefined);
      t.ok(content.equals(blob.bytes));
    }
    t.ok(site.happened.some((what) => what === 'refused ENOSPC'));
    t.same(await site.partials(), [], 'the room is given back');
  },
);

void t.test('on a full disk what can be evicted makes room first', async (t) => {
  const folder = tempFolder(t, 'small-disk');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', folder]);
  t.teardown(() => execFileSync('umount', ['-l', folder]));
  const upstream = await central(t);
  const old = upstream.addBlob('team/app', randomBlob(4 * MB, 64));
  const blob = upstream.addBlob('team/app', randomBlob(4 * MB, 65));
  const site = await CacheSite.open(t, upstream, { folder, maxBytes: 6 * MB });
  await readAll(await bodyOf(site.worker(), 'team/app', old.digest));
  await eventually(() => site.index.count === 1);
  const { content } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  t.ok(content.equals(blob.bytes));
  await eventually(() => site.stored(digest(blob.digest)));
  t.notOk(await site.stored(digest(old.digest)));
});

for (const [what, content] of [
  ['flipped', (bytes: Buffer) => Buffer.concat([Buffer.from([(bytes[0] ?? 0) ^ 1]), bytes.subarray(1)])],
  ['cut short', (bytes: Buffer) => bytes.subarray(0, 100)],
] as const) {
  void t.test(
    `a small stored blob that was ${what} is never served: set aside, and fetched again`,
    async (t) => {
      const upstream = await central(t);
      const blob = upstream.addBlob('team/app', randomBlob(2000, 70));
      const site = await CacheSite.open(t, upstream);
      await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
      await eventually(() => site.happened.includes('ended stored'));
      await writeFile(site.layout.blob(digest(blob.digest)), content(blob.bytes));
      const { content: served } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
      t.ok(served.equals(blob.bytes));
      t.equal(upstream.requests('GET', 'blob'), 2);
      t.ok(site.happened.includes('damaged'));
      t.equal((await readdir(site.layout.quarantine)).length, 1);
    },
  );
}

void t.test(
  'a small blob that was read once needs no file any more, and is shown for its repository only',
  async (t) => {
    const upstream = await central(t);
    const blob = upstream.addBlob('team/app', randomBlob(2000, 71));
    const site = await CacheSite.open(t, upstream);
    const worker = site.worker();
    await readAll(await bodyOf(worker, 'team/app', blob.digest));
    await eventually(() => site.happened.includes('ended stored'));
    await readAll(await bodyOf(worker, 'team/app', blob.digest));
    await rm(site.layout.blob(digest(blob.digest)));
    t.ok((await readAll(await bodyOf(worker, 'team/app', blob.digest))).content.equals(blob.bytes));
    t.equal((await worker.blob(repository('other/app'), digest(blob.digest))).kind, 'unknown');
  },
);

void t.test('folders that somebody removed under the edge are made again', async (t) => {
  const upstream = await central(t);
  const blob = upstream.addBlob('team/app', randomBlob(2000, 72));
  const site = await CacheSite.open(t, upstream);
  await rm(site.layout.partial, { recursive: true });
  await rm(site.layout.blobs, { recursive: true });
  const { content } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  t.ok(content.equals(blob.bytes));
  await eventually(() => site.stored(digest(blob.digest)));
});
