import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { Fault } from '../support/central.ts';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { createImage } from '../support/images.ts';

const central = await startCentral();
t.teardown(() => central.stop());
const image = createImage({ layers: [3000, 200_000] });
const evil = createImage({ layers: [3000, 200_000], seed: 'evil' });
central.addImage('app', 'v1', image);
const edge = await startEdge({
  config: {
    upstreams: [{ name: 'central', url: central.url, default: true }],
    freshness: { tag: '1h', negative: '1ms' },
  },
});
t.teardown(() => edge.remove());
const base = `${edge.http}/v2/app`;

async function kept(): Promise<string[]> {
  const folder = join(edge.dir, 'data/v1');
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && /\/(blobs|manifests)\//.test(`${entry.parentPath}/`))
    .map(({ name }) => name);
}

const [config, layer] = image.blobs;
const wrong = evil.layers[1]?.bytes ?? Buffer.alloc(0);

const LIES: Readonly<Record<string, Fault>> = {
  'another content': { kind: 'swap', content: wrong },
  'another manifest': { kind: 'swap', content: evil.manifest.bytes, mediaType: evil.manifest.mediaType },
  'a bit': { kind: 'corrupt', offset: 10 },
  less: { kind: 'short', bytes: 1 },
  more: { kind: 'long', bytes: 1 },
  'a page of a proxy': { kind: 'status', status: 200, body: '<html>log in</html>' },
  'an empty page': { kind: 'status', status: 200, body: '' },
};

void t.test('bytes that are not what was asked for are not kept, and reach nobody whole', async (t) => {
  for (const [what, fault] of Object.entries(LIES)) {
    const lie = central.on({ method: 'GET' }, fault);
    for (const reference of [image.digest, 'v1'])
      if (what !== 'another manifest' || reference !== 'v1')
        t.not((await get(`${base}/manifests/${reference}`)).status, 200, `${what} for ${reference}`);
    for (const blob of [config, layer]) {
      const { status, complete, sha256 } = await get(`${base}/blobs/${blob?.digest}`).catch(() => ({
        status: 0,
        complete: false,
        sha256: '',
      }));
      t.notOk(status === 200 && complete && `sha256:${sha256}` !== blob?.digest, `${what} for a blob`);
    }
    t.same(await kept(), [], what);
    lie.remove();
  }
});

void t.test('and leave nothing behind: the next client gets what is right', async (t) => {
  const { body } = await get(`${base}/manifests/v1`, { keepBody: true });
  t.equal(body.compare(image.manifest.bytes), 0);
  for (const { digest } of image.blobs)
    t.equal(`sha256:${(await get(`${base}/blobs/${digest}`)).sha256}`, digest);
});

void t.test('what is in no key changes no answer for the next', async (t) => {
  const keys = [
    'manifests/v1',
    `blobs/${config?.digest}`,
    'tags/list?n=1',
    'tags/list',
    `referrers/${image.digest}`,
  ];
  central.addImage('app', 'v2', evil);
  const clean = await Promise.all(keys.map((key) => get(`${base}/${key}`, { keepBody: true })));
  for (const headers of [
    { host: 'evil.example' },
    { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'gopher', 'x-forwarded-prefix': '/evil' },
    {
      'x-original-url': '/v2/evil/manifests/v1',
      'x-rewrite-url': '/evil',
      'x-http-method-override': 'DELETE',
    },
    { range: 'bytes=0-0' },
    { 'if-none-match': '*' },
    { 'if-none-match': `"${image.digest}"` },
    { 'if-range': '"x"', range: 'bytes=1-1' },
    { 'cache-control': 'no-cache, no-store', pragma: 'no-cache' },
    { authorization: 'Bearer evil', cookie: 'evil=1' },
  ]) {
    for (const [at, key] of keys.entries()) {
      await get(`${base}/${key}`, { method: 'HEAD', headers });
      const poisoned = await get(`${base}/${key}`, { headers, keepBody: true });
      t.notMatch(`${poisoned.rawHeaders.join('\n')}${poisoned.body.toString()}`, /evil\.example|gopher/);
      const next = await get(`${base}/${key}`, { keepBody: true });
      t.same(
        [next.status, next.headers.link, next.body],
        [200, clean[at]?.headers.link, clean[at]?.body],
        `${key} after ${JSON.stringify(headers)}`,
      );
    }
  }
  for (const { headers } of central.log) t.notMatch(JSON.stringify(headers), /evil/);
});
