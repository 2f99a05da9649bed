import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { BlobFixture } from '../support/images.ts';
import { serve } from '../upstream/scripted-server.ts';

const MiB = 1024 * 1024;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
/** 256 MiB in 256 KiB (CVE-2026-22036). */
const BOMB = gzipSync(Buffer.alloc(256 * MiB, ' '));
const plain = BlobFixture.of(
  Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, layers: [] })),
  MANIFEST,
);

let encoding: string | undefined;
let content: Buffer = BOMB;
const upstream = await serve(t, (_, response) => {
  const coded = encoding === undefined ? {} : { 'content-encoding': encoding };
  response.writeHead(200, { 'content-type': MANIFEST, 'content-length': content.byteLength, ...coded });
  response.end(content);
});
const edge = await startEdge({
  workers: 1,
  config: {
    upstreams: [{ name: 'central', url: upstream.url, default: true, catalog: true }],
    freshness: { negative: '1ms' },
  },
});
t.teardown(() => edge.remove());
const TARGETS = [
  'app/manifests/v1',
  `app/manifests/${plain.digest}`,
  `app/blobs/${plain.digest}`,
  'app/tags/list',
  `app/referrers/${plain.digest}`,
  '_catalog',
];

void t.test('nothing that is encoded is unpacked, served or kept, in any coding', async (t) => {
  for (encoding of [
    'gzip',
    'GZIP',
    'x-gzip',
    'deflate',
    'br',
    'zstd',
    'gzip, identity',
    'identity, gzip',
    'gzip, gzip',
    'unknown',
    ' ',
  ]) {
    content = encoding.toLowerCase().includes('gzip') ? BOMB : plain.bytes;
    for (const target of TARGETS) {
      const { status, headers, bytes } = await get(`${edge.http}/v2/${target}`, {
        headers: { 'accept-encoding': 'gzip, br, zstd' },
      });
      if (encoding === ' ') continue;
      t.ok(status >= 400 || target === '_catalog', `${encoding}: ${target}: ${status}`);
      t.equal(headers['content-encoding'], undefined);
      t.ok(bytes < 1000);
    }
  }
  for (const { headers } of upstream.asked) t.equal(headers['accept-encoding'], 'identity');
  t.same(await blobsOf(edge.dir), []);
  const [resident = 0] = [...(await edge.rssOf()).values()];
  t.ok(resident < 256 * MiB, `${resident} bytes are less than one bomb`);
});

void t.test('and what is not comes through', async (t) => {
  encoding = undefined;
  content = plain.bytes;
  const { status, body } = await get(`${edge.http}/v2/app/manifests/${plain.digest}`, { keepBody: true });
  t.equal(status, 200);
  t.equal(body.compare(plain.bytes), 0);
});

async function blobsOf(dir: string): Promise<string[]> {
  const names = await readdir(join(dir, 'data/v1'), { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => entry.isFile() && /blobs|manifests/.test(entry.parentPath))
    .map(({ name }) => name);
}
