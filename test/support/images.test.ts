import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { parseManifest } from '../../src/oci/manifest.ts';
import { createImage, createIndex, randomBlob } from './images.ts';
import { makeLayer, SMALLEST_LAYER } from './images/layer.ts';
import { runProcess } from './processes.ts';
import { tempFolder } from './temp.ts';

const digestOf = (content: Buffer): string => `sha256:${createHash('sha256').update(content).digest('hex')}`;

void t.test('a layer has exactly the size asked for, and unpacks', async (t) => {
  const sizes = [SMALLEST_LAYER, SMALLEST_LAYER + 1, 65_535, 65_536, 66_060, 66_061, 200_000, 1_500_007];
  for (const size of sizes) {
    const { blob, diffId } = makeLayer({ size, seed: size, mediaType: 'x' });
    t.equal(blob.bytes.byteLength, size);
    t.equal(digestOf(blob.bytes), blob.digest);
    const tar = gunzipSync(blob.bytes);
    t.equal(digestOf(tar), diffId, `the diff id of ${size}`);
  }
  t.throws(() => makeLayer({ size: SMALLEST_LAYER - 600, seed: 1, mediaType: 'x' }), /at least/);
});

void t.test('tar and gzip accept a layer, and its content does not compress', async (t) => {
  const file = `${tempFolder(t)}/layer.tgz`;
  const { blob } = makeLayer({ size: 300_000, seed: 1, mediaType: 'x', file });
  const written = await readFile(file);
  t.equal(digestOf(written), blob.digest);
  t.same(await blob.read(1000, 2000), written.subarray(1000, 2000));
  t.equal((await runProcess('gzip', ['-t', file])).code, 0);
  const listed = await runProcess('tar', ['-tvzf', file]);
  t.match(listed.stdout, /^-rw-r--r-- 0\/0 +29\d{4} .*layer-[0-9a-f]{12}\n$/);
  const again = await runProcess('sh', ['-c', `gunzip -c '${file}' | gzip -9 | wc -c`]);
  t.ok(Number(again.stdout) > 297_000);
});

void t.test('the same seed gives the same bytes, in memory or in a file', async (t) => {
  const memory = makeLayer({ size: 100_000, seed: 'a', mediaType: 'x' });
  const file = makeLayer({ size: 100_000, seed: 'a', mediaType: 'x', file: `${tempFolder(t)}/layer` });
  t.equal(memory.blob.digest, file.blob.digest);
  t.not(makeLayer({ size: 100_000, seed: 'b', mediaType: 'x' }).blob.digest, memory.blob.digest);
  t.equal(randomBlob(3_000_000, 1).digest, randomBlob(3_000_000, 1).digest);
  t.not(randomBlob(1000, 1).digest, randomBlob(1000, 2).digest);
  t.same(randomBlob(3_000_000, 1).bytes.subarray(0, 1000), randomBlob(1000, 1).bytes);
});

void t.test('manifests are what the grammar of the edge takes them for', async (t) => {
  for (const format of ['docker', 'oci'] as const) {
    const amd64 = createImage({ layers: [3000, 4000], seed: 1, format });
    const arm64 = createImage({
      layers: [3000],
      seed: 2,
      format,
      platform: { os: 'linux', architecture: 'arm64' },
    });
    const read = parseManifest(amd64.manifest.bytes, amd64.manifest.mediaType);
    t.equal(read.kind, 'image');
    t.same(
      read.blobs,
      amd64.blobs.map((blob) => blob.digest),
    );
    const index = createIndex([amd64, arm64], format);
    t.same(parseManifest(index.manifest.bytes, index.manifest.mediaType).manifests, [
      amd64.digest,
      arm64.digest,
    ]);
    t.equal(index.blobs.length, 5);
    t.equal(amd64.totalBytes, amd64.manifest.size + 7000 + (amd64.blobs[0]?.size ?? 0));
  }
});
