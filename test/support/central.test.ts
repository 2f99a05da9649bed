import t from 'tap';
import { startCentral } from './central.ts';
import { get, herd } from './clients.ts';
import { createImage, createIndex, randomBlob } from './images.ts';
import { selfSigned } from './self-signed.ts';
import { tempFolder } from './temp.ts';

void t.test('serves an image and counts every request and byte', async (t) => {
  await using central = await startCentral();
  const image = createImage({ layers: [5000, 70_000] });
  central.addImage('library/app', 'latest', image);
  const base = `${central.url}/v2/library/app`;

  const head = await get(`${base}/manifests/latest`, { method: 'HEAD' });
  t.equal(head.headers['docker-content-digest'], image.digest);
  t.equal(head.headers['content-type'], image.manifest.mediaType);
  t.equal(head.headers['content-length'], String(image.manifest.size));
  t.equal(head.bytes, 0);
  const manifest = await get(`${base}/manifests/${image.digest}`, { keepBody: true });
  t.same(manifest.body, image.manifest.bytes);
  for (const layer of image.layers) {
    const answer = await get(`${base}/blobs/${layer.digest}`);
    t.equal(`sha256:${answer.sha256}`, layer.digest);
    t.equal(answer.headers['content-type'], 'application/octet-stream');
    t.ok(answer.complete);
    t.equal(central.requests('GET', 'blob', layer.digest), 1);
    t.equal(central.bytesSent(layer.digest), layer.size);
  }
  t.equal(central.requests(), 4);
  t.equal(central.requests('HEAD', 'manifest', 'latest'), 1);
  t.equal(central.bytesSent(), 75_000 + image.manifest.size);
  t.equal((await get(`${central.url}/v2/`)).status, 200);
  t.equal((await get(`${base}/blobs/sha256:${'0'.repeat(64)}`)).status, 404);
  t.equal(
    (await get(`${central.url}/v2/other/blobs/${image.layers[0]?.digest}`)).status,
    404,
    'not of that repository',
  );
  central.forget();
  t.equal(central.requests(), 0);
});

void t.test('tags move and are listed in pages; referrers are listed and filtered', async (t) => {
  await using central = await startCentral();
  const [one, two] = [createImage({ layers: [3000], seed: 1 }), createImage({ layers: [3000], seed: 2 })];
  const signature = createImage({
    layers: [3000],
    seed: 3,
    format: 'oci',
    subject: one,
    artifactType: 'x/signature',
  });
  central.addImage('app', 'a', createIndex([one, two]));
  central.addImage('app', 'b', one);
  central.addImage('app', undefined, signature);
  central.moveTag('app', 'b', two);
  const json = async (path: string): Promise<{ link: unknown; value: unknown }> => {
    const { body, headers } = await get(`${central.url}/v2/app/${path}`, { keepBody: true });
    return { link: headers['link'], value: JSON.parse(body.toString()) as unknown };
  };
  t.equal((await get(`${central.url}/v2/app/manifests/b`)).headers['docker-content-digest'], two.digest);
  t.equal((await get(`${central.url}/v2/app/manifests/${one.digest}`)).status, 200, 'a child of the index');
  t.same(await json('tags/list?n=1'), {
    link: '</v2/app/tags/list?n=1&last=a>; rel="next"',
    value: { name: 'app', tags: ['a'] },
  });
  t.same(await json('tags/list?n=1&last=a'), { link: undefined, value: { name: 'app', tags: ['b'] } });
  t.match(await json(`referrers/${one.digest}?artifactType=x/signature`), {
    value: { manifests: [{ digest: signature.digest, artifactType: 'x/signature' }] },
  });
  t.match(await json(`referrers/${one.digest}?artifactType=x/other`), { value: { manifests: [] } });
});

void t.test('ranges', async (t) => {
  await using central = await startCentral();
  const blob = central.addBlob('app', randomBlob(1000, 1));
  const ask = (headers: Record<string, string>) =>
    get(`${central.url}/v2/app/blobs/${blob.digest}`, { headers, keepBody: true });
  const part = await ask({ range: 'bytes=100-' });
  t.equal(part.status, 206);
  t.equal(part.headers['content-range'], 'bytes 100-999/1000');
  t.same(part.body, blob.bytes.subarray(100));
  t.same(
    (await ask({ range: 'bytes=10-19', 'if-range': `"${blob.digest}"` })).body,
    blob.bytes.subarray(10, 20),
  );
  t.equal((await ask({ range: 'bytes=10-19', 'if-range': '"other"' })).bytes, 1000);
  t.equal((await ask({ range: 'bytes=1000-' })).status, 416);
  t.equal((await ask({ 'if-none-match': `"${blob.digest}"` })).status, 304);
});

void t.test('faults', async (t) => {
  await using central = await startCentral();
  await using other = await startCentral();
  const blob = central.addBlob('app', randomBlob(200_000, 1));
  other.addBlob('app', blob);
  const url = `${central.url}/v2/app/blobs/${blob.digest}`;
  const ask = (headers: Record<string, string> = {}) => get(url, { headers, keepBody: true });
  t.afterEach(() => central.heal());

  await t.test('a status, so many times, after so many', async (t) => {
    const fault = central.on(
      { kind: 'blob' },
      { kind: 'status', status: 429, headers: { 'retry-after': '7' }, times: 2, skip: 1 },
    );
    const statuses: number[] = [];
    for (let count = 0; count < 4; count++) statuses.push((await ask()).status);
    t.same(statuses, [200, 429, 429, 200]);
    t.equal(fault.hits, 2);
  });
  for (const by of ['fin', 'rst'] as const) {
    await t.test(`a cut by ${by}: exactly so many bytes, then the end`, async (t) => {
      central.on({ kind: 'blob' }, { kind: 'cut', afterBytes: 70_000, by });
      central.forget();
      const cut = await ask();
      t.equal(cut.status, 200);
      t.equal(cut.complete, false);
      t.equal(cut.error, 'ECONNRESET');
      if (by === 'fin') t.same(cut.body, blob.bytes.subarray(0, 70_000));
      t.equal(central.bytesSent(blob.digest), 70_000);
      t.match(central.log, [{ done: false }]);
    });
  }
  await t.test('a cut of a resumed transfer counts from the resumed byte', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'cut', afterBytes: 10 });
    t.same((await ask({ range: 'bytes=100-' })).body, blob.bytes.subarray(100, 110));
  });
  await t.test('no answer at all', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'cut' });
    await t.rejects(ask(), { code: 'ECONNRESET' });
  });
  await t.test('silence before the headers, until told', async (t) => {
    const gate = Promise.withResolvers<void>();
    central.on({ kind: 'blob' }, { kind: 'stall', until: gate.promise });
    const asked = ask();
    gate.resolve();
    t.equal((await asked).bytes, blob.size);
  });
  await t.test('silence half-way; it ends with the client', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 1000 });
    t.equal((await get(url, { abortAfterBytes: 1000 })).error, 'ABORTED');
    while (central.running > 0) await new Promise(setImmediate);
  });
  await t.test('silence half-way, then a cut', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 1000, until: Promise.resolve() });
    central.on({ kind: 'blob' }, { kind: 'cut', afterBytes: 2000 });
    t.same((await ask()).body, blob.bytes.subarray(0, 2000));
  });
  await t.test('a trickle', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'drip', bytesPerSecond: 2_000_000 });
    const dripped = await ask();
    t.equal(dripped.bytes, blob.size);
    t.ok(dripped.totalMs >= 90);
  });
  await t.test('one wrong bit, also within a range', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'corrupt', offset: 1234 });
    for (const headers of [{}, { range: 'bytes=1000-' }]) {
      const { body } = await ask(headers);
      const expected = Buffer.from(blob.bytes.subarray(blob.size - body.byteLength));
      const at = 1234 - (blob.size - body.byteLength);
      t.not(body[at], expected[at]);
      expected.writeUInt8(body[at] ?? 0, at);
      t.same(body, expected);
    }
    t.same((await ask({ range: 'bytes=2000-' })).body, blob.bytes.subarray(2000));
  });
  await t.test('too short and too long, with a Content-Length that agrees', async (t) => {
    const short = central.on({ kind: 'blob' }, { kind: 'short', bytes: 10 });
    t.match(await ask(), { bytes: blob.size - 10, complete: true });
    short.remove();
    central.on({ kind: 'blob' }, { kind: 'long', bytes: 10 });
    t.match(await ask(), {
      bytes: blob.size + 10,
      complete: true,
      headers: { 'content-length': String(blob.size + 10) },
    });
  });
  await t.test('wrong headers, missing headers', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'wrongDigestHeader', digest: 'sha256:x' });
    central.on({ kind: 'blob' }, { kind: 'headers', headers: { 'content-type': undefined, 'x-more': '1' } });
    const { headers } = await ask();
    t.match(headers, { 'docker-content-digest': 'sha256:x', 'x-more': '1' });
    t.notOk(headers['content-type']);
  });
  await t.test('another content under the same name', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'swap', content: Buffer.from('{}'), mediaType: 'application/json' });
    t.match(await ask(), {
      bytes: 2,
      headers: { 'docker-content-digest': blob.digest, 'content-type': 'application/json' },
    });
  });
  await t.test('Range ignored', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'ignoreRange' });
    t.match(await ask({ range: 'bytes=100-' }), { status: 200, bytes: blob.size });
  });
  await t.test('chunked, without a length', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'chunked' });
    const chunked = await ask();
    t.match(chunked, { complete: true, bytes: blob.size, headers: { 'transfer-encoding': 'chunked' } });
    t.notOk(chunked.headers['content-length']);
    central.on({ kind: 'blob' }, { kind: 'cut', afterBytes: 500 });
    t.match(await ask(), { complete: false, bytes: 500 });
  });
  await t.test('compressed, though nobody asked', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'gzip' });
    t.match(await ask(), { headers: { 'content-encoding': 'gzip' }, complete: true });
  });
  await t.test('a redirect to another origin', async (t) => {
    central.on({ kind: 'blob' }, { kind: 'redirect', to: other.url });
    const { status, headers } = await ask();
    t.equal(status, 307);
    t.equal(`sha256:${(await get(headers.location ?? '')).sha256}`, blob.digest);
  });
});

void t.test('the rate is shared by all connections, and can be changed', async (t) => {
  await using central = await startCentral({ bytesPerSecond: 2_000_000 });
  const blob = central.addBlob('app', randomBlob(100_000, 1));
  const url = `${central.url}/v2/app/blobs/${blob.digest}`;
  const started = performance.now();
  await herd(url, 4);
  t.ok(performance.now() - started >= 400_000 / 2000 - 10);
  central.bytesPerSecond = 1000;
  const answer = await get(url, {
    onData: () => {
      central.bytesPerSecond = Infinity;
    },
  });
  t.equal(answer.bytes, blob.size);
});

void t.test('the central goes down and comes back with its content on its port', async (t) => {
  await using central = await startCentral();
  const blob = central.addBlob('app', randomBlob(3_000_000, 1));
  const url = `${central.url}/v2/app/blobs/${blob.digest}`;
  central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 2_000_000, times: 1 });
  const broken = await get(url, { onData: (_, bytes) => (bytes < 2_000_000 ? undefined : central.stop()) });
  t.equal(broken.complete, false);
  await t.rejects(get(url), { code: 'ECONNREFUSED' });
  await central.start();
  t.ok((await get(url)).complete);
});

void t.test('TLS', async (t) => {
  const { key, cert } = await selfSigned(tempFolder(t));
  await using central = await startCentral({ tls: { key, cert } });
  t.equal((await get(`${central.url}/v2/`, { ca: cert })).status, 200);
  await t.rejects(get(`${central.url}/v2/`), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
});
