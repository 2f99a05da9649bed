import { readFile, truncate, writeFile } from 'node:fs/promises';
import t from 'tap';
import { startCentral, type Central } from '../../support/central.ts';
import { eventually } from '../../support/eventually.ts';
import { randomBlob, type BlobFixture } from '../../support/images.ts';
import { tempFolder, type Teardown } from '../../support/temp.ts';
import { bodyOf, CacheSite, digest, readAll, readPart, repository } from '../cache-site.ts';

const MB = 1_000_000;

async function centralWith(
  test: Teardown,
  size: number,
  seed: number,
): Promise<{ central: Central; blob: BlobFixture }> {
  const central = await startCentral();
  test.teardown(() => central.stop());
  return { central, blob: central.addBlob('team/app', randomBlob(size, seed)) };
}

void t.test('many readers in two workers cost one transfer, and all get the right bytes', async (t) => {
  const { central, blob } = await centralWith(t, 8 * MB, 1);
  central.bytesPerSecond = 40 * MB;
  const site = await CacheSite.open(t, central);
  const workers = [site.worker(), site.worker()];
  const bodies = await Promise.all(
    Array.from({ length: 40 }, (_, n) => bodyOf(workers[n % 2] ?? site.worker(), 'team/app', blob.digest)),
  );
  const results = await Promise.all(bodies.map((body) => readAll(body)));
  t.ok(results.every(({ content }) => content.equals(blob.bytes)));
  t.equal(central.requests('GET', 'blob'), 1);
  t.equal(central.bytesSent(blob.digest), blob.size);
  await eventually(() => site.happened.includes('ended stored'));
  t.same(await site.partials(), []);
  t.ok(await site.stored(digest(blob.digest)));
});

void t.test('the first reader streams before the transfer has ended', async (t) => {
  const { central, blob } = await centralWith(t, 2 * MB, 2);
  const rest = Promise.withResolvers<void>();
  central.on({ kind: 'blob', method: 'GET' }, { kind: 'stall', afterBytes: 1 * MB, until: rest.promise });
  const site = await CacheSite.open(t, central);
  const body = await bodyOf(site.worker(), 'team/app', blob.digest);
  const { content: early } = await readPart(body, 0, MB / 2);
  t.ok(early.equals(blob.bytes.subarray(0, early.byteLength)));
  t.notOk(await site.stored(digest(blob.digest)), 'not stored yet');
  rest.resolve();
  const whole = await readAll(body);
  t.ok(whole.content.equals(blob.bytes));
});

void t.test('a range of a cold blob comes from the running fill, also its tail', async (t) => {
  const { central, blob } = await centralWith(t, 3 * MB, 3);
  central.bytesPerSecond = 30 * MB;
  const site = await CacheSite.open(t, central);
  const worker = site.worker();
  const parts = await Promise.all(
    [
      [0, 99],
      [1_000_000, 1_999_999],
      [2_999_990, 2_999_999],
    ].map(async ([first = 0, last = 0]) => {
      const { content } = await readAll(await bodyOf(worker, 'team/app', blob.digest), first, last);
      return content.equals(blob.bytes.subarray(first, last + 1));
    }),
  );
  t.same(parts, [true, true, true]);
  t.equal(central.requests('GET', 'blob'), 1);
});

void t.test('readers that vanish, the first one included, do not touch the fill', async (t) => {
  const { central, blob } = await centralWith(t, 4 * MB, 4);
  central.bytesPerSecond = 20 * MB;
  const site = await CacheSite.open(t, central);
  const worker = site.worker();
  const first = await bodyOf(worker, 'team/app', blob.digest);
  const second = await bodyOf(worker, 'team/app', blob.digest);
  await readPart(first, 0, 1000);
  first.cancel();
  await t.rejects(first.read(3 * MB, 1000), 'a waiting read of a cancelled reader ends');
  await first.close();
  const { content } = await readAll(second);
  t.ok(content.equals(blob.bytes));
  t.equal(central.requests('GET', 'blob'), 1);
});

void t.test('a fill goes on without any reader', async (t) => {
  const { central, blob } = await centralWith(t, 1 * MB, 5);
  const site = await CacheSite.open(t, central);
  const body = await bodyOf(site.worker(), 'team/app', blob.digest);
  await body.close();
  await eventually(() => site.happened.includes('ended stored'));
  t.ok(await site.stored(digest(blob.digest)));
});

for (const share of [0.3, 0.6, 0.9]) {
  void t.test(`cut at ${share * 100}%: one whole body, the rest fetched once`, async (t) => {
    const { central, blob } = await centralWith(t, 5 * MB, 6);
    const afterBytes = share * blob.size;
    central.on({ kind: 'blob', method: 'GET' }, { kind: 'cut', afterBytes, times: 1 });
    const site = await CacheSite.open(t, central);
    const { content, error } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
    t.equal(error, undefined);
    t.ok(content.equals(blob.bytes));
    t.ok(central.bytesSent(blob.digest) <= 1.02 * blob.size, `${central.bytesSent(blob.digest)} bytes`);
    const [, resumed] = central.find({ kind: 'blob', method: 'GET' });
    t.match(resumed?.headers.range, /^bytes=\d+-$/);
    t.ok(resumed?.headers['if-range'], 'under the condition that it is the same content');
  });
}

void t.test('an upstream that ignores the range costs bytes, never rightness', async (t) => {
  const { central, blob } = await centralWith(t, 2 * MB, 7);
  central.on({ kind: 'blob' }, { kind: 'cut', afterBytes: 1 * MB, times: 1 });
  central.on({ kind: 'blob' }, { kind: 'ignoreRange' });
  const site = await CacheSite.open(t, central);
  const { content } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  t.ok(content.equals(blob.bytes));
  t.ok(await eventually(() => site.stored(digest(blob.digest))));
});

void t.test('cut again and again, but a little further each time: still one whole body', async (t) => {
  const { central, blob } = await centralWith(t, 2 * MB, 8);
  central.on({ kind: 'blob', method: 'GET' }, { kind: 'cut', afterBytes: 200_000, times: 9 });
  const site = await CacheSite.open(t, central);
  const { content, error } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  t.equal(error, undefined);
  t.ok(content.equals(blob.bytes));
});

void t.test(
  'an upstream that sends nothing more is given up: the reader ends short, the bytes are kept',
  async (t) => {
    const { central, blob } = await centralWith(t, 2 * MB, 9);
    central.on({ kind: 'blob', method: 'GET' }, { kind: 'cut', afterBytes: 1 * MB, times: 1 });
    const refusing = central.on({ kind: 'blob', method: 'GET' }, { kind: 'status', status: 503, skip: 1 });
    const site = await CacheSite.open(t, central, { times: { patience: 200 as never } });
    const { content, error } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
    t.ok(error);
    t.ok(content.byteLength > 0 && content.byteLength < blob.size);
    await eventually(() => site.happened.includes('ended interrupted'));
    t.equal((await site.partials()).length, 1);
    refusing.remove();
    await eventually(() => site.upstream.available);
    const again = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
    t.ok(again.content.equals(blob.bytes));
    t.ok(central.bytesSent(blob.digest) <= 1.02 * blob.size + 1000, 'the rest alone was fetched');
  },
);

for (const [what, fault] of [
  ['one bit is wrong', { kind: 'corrupt', offset: 1_500_000 }],
  ['the first bit is wrong', { kind: 'corrupt', offset: 0 }],
  ['the last byte is wrong', { kind: 'corrupt', offset: 1_999_999 }],
  ['bytes are missing', { kind: 'short', bytes: 1000 }],
  ['bytes are added', { kind: 'long', bytes: 1000 }],
] as const) {
  void t.test(`${what}: never served whole, never kept, and the next try succeeds`, async (t) => {
    const { central, blob } = await centralWith(t, 2 * MB, 10);
    central.on({ kind: 'blob' }, { ...fault, times: 1 });
    const site = await CacheSite.open(t, central);
    const bodies = await Promise.all([1, 2, 3].map(() => bodyOf(site.worker(), 'team/app', blob.digest)));
    for (const { content, error } of await Promise.all(bodies.map((body) => readAll(body)))) {
      t.ok(error, 'the reader sees a failure');
      t.ok(content.byteLength < blob.size - 1000, 'the last piece was held back');
    }
    await eventually(() => site.happened.includes('ended corrupt'));
    t.notOk(await site.stored(digest(blob.digest)));
    t.same(await site.partials(), []);
    const { content } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
    t.ok(content.equals(blob.bytes));
  });
}

void t.test('a blob smaller than the held-back piece is given only when it is right', async (t) => {
  const { central, blob } = await centralWith(t, 500, 11);
  central.on({ kind: 'blob' }, { kind: 'corrupt', offset: 3, times: 1 });
  const site = await CacheSite.open(t, central);
  const wrong = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  t.equal(wrong.content.byteLength, 0);
  await eventually(() => site.happened.includes('ended corrupt'));
  const right = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  t.ok(right.content.equals(blob.bytes));
});

void t.test('an empty blob is a blob', async (t) => {
  const { central, blob } = await centralWith(t, 0, 12);
  const site = await CacheSite.open(t, central);
  const body = await bodyOf(site.worker(), 'team/app', blob.digest);
  t.equal(body.size, 0);
  await body.close();
  await eventually(() => site.stored(digest(blob.digest)));
});

void t.test('a body without a length is asked for its length', async (t) => {
  const { central, blob } = await centralWith(t, 300_000, 13);
  central.on({ kind: 'blob', method: 'GET' }, { kind: 'chunked' });
  const site = await CacheSite.open(t, central);
  const { content } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  t.ok(content.equals(blob.bytes));
  t.equal(central.requests('HEAD', 'blob'), 1);
});

void t.test('after a restart only the rest is fetched, whoever asks next', async (t) => {
  const { central, blob } = await centralWith(t, 4 * MB, 14);
  const stalled = central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 2 * MB });
  const folder = tempFolder(t, 'restart');
  const before = await CacheSite.open(t, central, { folder });
  const cutOff = await bodyOf(before.worker(), 'team/app', blob.digest);
  await readPart(cutOff, 0, 1.5 * MB);
  await before.close();
  await t.rejects(cutOff.read(3 * MB, 10));
  await cutOff.close();
  stalled.remove();
  central.forget();
  const after = await CacheSite.open(t, central, { folder });
  t.same(
    (await after.records.left()).map((left) => left.digest),
    [blob.digest],
    'the next run knows where it came from',
  );
  const { content } = await readAll(await bodyOf(after.worker(), 'team/app', blob.digest));
  t.ok(content.equals(blob.bytes));
  const [rest, ...more] = central.find({ kind: 'blob', method: 'GET' });
  t.same(more, []);
  t.match(rest?.headers.range, /^bytes=[1-9]\d+-$/);
});

void t.test('resume goes on with what the last run left, without anybody asking', async (t) => {
  const { central, blob } = await centralWith(t, 3 * MB, 15);
  const stalled = central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 2 * MB });
  const folder = tempFolder(t, 'resume');
  const before = await CacheSite.open(t, central, { folder });
  const body = await bodyOf(before.worker(), 'team/app', blob.digest);
  await readPart(body, 0, 1.5 * MB);
  await before.close();
  await body.close();
  stalled.remove();
  const after = await CacheSite.open(t, central, { folder });
  await after.blobs.resume(await after.records.left());
  await eventually(() => after.stored(digest(blob.digest)));
  t.ok((await readFile(after.layout.blob(digest(blob.digest)))).equals(blob.bytes));
});

for (const [what, harm] of [
  [
    'damaged',
    (path: string, content: Buffer) =>
      writeFile(path, Buffer.concat([Buffer.from('x'), content.subarray(1, 500_000)])),
  ],
  [
    'longer than the blob',
    (path: string, content: Buffer) => writeFile(path, Buffer.concat([content, Buffer.alloc(10)])),
  ],
] as const) {
  void t.test(`a partial file that is ${what} is dropped, and the try after that is right`, async (t) => {
    const { central, blob } = await centralWith(t, 2 * MB, 16);
    const site = await CacheSite.open(t, central);
    await harm(site.layout.partialBlob(digest(blob.digest)), blob.bytes);
    const first = await site.worker().blob(repository('team/app'), digest(blob.digest));
    if (first.kind === 'blob') {
      const { content, error } = await readAll(first.body);
      t.ok(error);
      t.ok(content.byteLength < blob.size);
    }
    await eventually(() => site.blobs.fillsRunning === 0);
    t.notOk(await site.stored(digest(blob.digest)));
    const { content } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
    t.ok(content.equals(blob.bytes));
  });
}

void t.test('a partial file that is whole already needs no more bytes', async (t) => {
  const { central, blob } = await centralWith(t, 1 * MB, 17);
  const site = await CacheSite.open(t, central);
  await writeFile(site.layout.partialBlob(digest(blob.digest)), blob.bytes);
  const { content } = await readAll(await bodyOf(site.worker(), 'team/app', blob.digest));
  t.ok(content.equals(blob.bytes));
  t.ok(await eventually(() => site.stored(digest(blob.digest))));
  t.ok(central.bytesSent(blob.digest) < 1000);
});

void t.test('a blob file that was cut short under a reader ends the answer short', async (t) => {
  const { central, blob } = await centralWith(t, 2 * MB, 18);
  const site = await CacheSite.open(t, central);
  const worker = site.worker();
  await readAll(await bodyOf(worker, 'team/app', blob.digest));
  await eventually(() => site.stored(digest(blob.digest)));
  const body = await bodyOf(worker, 'team/app', blob.digest);
  await truncate(site.layout.blob(digest(blob.digest)), 1 * MB);
  const { content, error } = await readAll(body);
  t.ok(error);
  t.equal(content.byteLength, 1 * MB);
});
