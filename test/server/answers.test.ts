import t from 'tap';
import { get, type Answer } from '../support/clients.ts';
import { serveImage, warm } from './fixture.ts';

const SIZE = 200_000;
const served = await serveImage([SIZE]);
await warm(served);
const { edge, central, image } = served;

const base = `${edge.http}/v2/library/app`;
const [layer] = image.layers;
const content = layer?.bytes ?? Buffer.alloc(0);
const digest = layer?.digest ?? '';
const blobUrl = `${base}/blobs/${digest}`;
const ask = (headers: Record<string, string>, method = 'GET'): Promise<Answer> =>
  get(blobUrl, { headers, method, keepBody: true });

/** All that is not of the moment. */
function lasting({ headers }: Answer): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name !== 'date' && name !== 'x-request-id'),
  );
}

void t.test('HEAD has the headers of GET, and no body', async (t) => {
  for (const [url, expected] of [
    [`${base}/manifests/latest`, { 'content-type': image.manifest.mediaType, digest: image.digest }],
    [`${base}/manifests/${image.digest}`, { 'content-type': image.manifest.mediaType, digest: image.digest }],
    [blobUrl, { 'content-type': 'application/octet-stream', digest }],
  ] as const) {
    const whole = await get(url, { keepBody: true });
    const head = await get(url, { method: 'HEAD' });
    t.equal(head.status, 200);
    t.equal(head.bytes, 0);
    t.same(lasting(head), lasting(whole), url);
    t.equal(whole.headers['content-type'], expected['content-type'], 'as stored, without a charset');
    t.equal(whole.headers['docker-content-digest'], expected.digest);
    t.equal(whole.headers.etag, `"${expected.digest}"`);
    t.equal(whole.headers['content-length'], String(whole.body.byteLength));
    t.equal(`sha256:${whole.sha256}`, expected.digest);
    t.equal(whole.headers['cache-status'], 'pierhead; hit');
    t.equal(whole.headers['docker-distribution-api-version'], 'registry/2.0');
    t.notOk(whole.headers['transfer-encoding'], 'never in chunks');
    t.notOk(whole.headers['content-encoding']);
    t.equal((await ask({}, 'HEAD')).headers['accept-ranges'], 'bytes');
  }
});

void t.test('the bytes of a digest are the same whatever Accept and Accept-Encoding say', async (t) => {
  for (const url of [blobUrl, `${base}/manifests/${image.digest}`]) {
    const plain = await get(url);
    for (const headers of [
      { accept: 'text/html' },
      { 'accept-encoding': 'zstd, gzip' },
      { accept: '*/*;q=0' },
    ]) {
      const other = await get(url, { headers });
      t.equal(other.sha256, plain.sha256);
      t.same(lasting(other), lasting(plain));
    }
  }
});

void t.test('If-None-Match', async (t) => {
  for (const url of [blobUrl, `${base}/manifests/latest`]) {
    const etag = String((await get(url, { method: 'HEAD' })).headers.etag);
    for (const method of ['GET', 'HEAD']) {
      for (const tags of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
        const answer = await get(url, { method, headers: { 'if-none-match': tags } });
        t.match(answer, { status: 304, bytes: 0, headers: { etag } }, `${method} ${tags}`);
      }
      for (const tags of ['"other"', etag.slice(1, -1), '']) {
        t.equal((await get(url, { method, headers: { 'if-none-match': tags } })).status, 200, tags);
      }
    }
  }
});

void t.test('a part of a blob', async (t) => {
  for (const [range, first, last] of [
    ['bytes=0-', 0, SIZE - 1],
    ['bytes=150000-', 150_000, SIZE - 1],
    ['bytes=10-19', 10, 19],
    ['bytes=0-0', 0, 0],
    [`bytes=${SIZE - 1}-`, SIZE - 1, SIZE - 1],
    ['bytes=65535-65536', 65_535, 65_536],
    ['bytes=-7', SIZE - 7, SIZE - 1],
    ['bytes=-999999999', 0, SIZE - 1],
    ['bytes=100-999999999', 100, SIZE - 1],
    ['Bytes=3-4', 3, 4],
  ] as const) {
    const part = await ask({ range });
    t.equal(part.status, 206, range);
    t.equal(part.headers['content-range'], `bytes ${first}-${last}/${SIZE}`);
    t.equal(part.headers['content-length'], String(last - first + 1));
    t.ok(part.body.equals(content.subarray(first, last + 1)), `the bytes of ${range}`);
  }
});

void t.test('a range beyond the end', async (t) => {
  for (const range of [`bytes=${SIZE}-`, 'bytes=999999999-', `bytes=${SIZE}-${SIZE}`, 'bytes=-0']) {
    const answer = await ask({ range });
    t.match(answer, { status: 416, headers: { 'content-range': `bytes */${SIZE}` } }, range);
    t.match(JSON.parse(answer.body.toString()), { errors: [{ code: 'SIZE_INVALID', detail: String(SIZE) }] });
  }
});

void t.test('what is answered whole', async (t) => {
  for (const [why, headers] of [
    ['several ranges', { range: 'bytes=0-1,3-4' }],
    ['a thousand ranges', { range: `bytes=${Array.from({ length: 1000 }, () => '0-').join(',')}` }],
    ['an unknown unit', { range: 'lines=1-2' }],
    ['If-Range of something else', { range: 'bytes=1-2', 'if-range': '"other"' }],
    ['If-Range with a weak tag', { range: 'bytes=1-2', 'if-range': `W/"${digest}"` }],
    ['If-Range with a date', { range: 'bytes=1-2', 'if-range': 'Sat, 01 Jan 2050 00:00:00 GMT' }],
  ] as const) {
    const answer = await ask(headers);
    t.equal(answer.status, 200, why);
    t.notOk(answer.headers['content-range']);
    t.ok(answer.body.equals(content), why);
  }
  const part = await ask({ range: 'bytes=1-2', 'if-range': `"${digest}"` });
  t.equal(part.status, 206, 'If-Range of this');
  t.ok(part.body.equals(content.subarray(1, 3)));
});

void t.test('HEAD has no ranges', async (t) => {
  for (const range of ['bytes=1-2', 'bytes=-1', 'bytes=999999999-']) {
    const head = await ask({ range }, 'HEAD');
    t.match(head, { status: 200, bytes: 0, headers: { 'content-length': String(SIZE) } }, range);
    t.notOk(head.headers['content-range']);
  }
});

void t.test('all of that was answered from here', async (t) => {
  t.same(central.log, []);
});
