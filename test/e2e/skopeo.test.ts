import { createHash } from 'node:crypto';
import { copyFile, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createImage, createIndex, pushImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRegistry } from '../support/registry.ts';
import { skopeoCopy, type SkopeoOptions } from '../support/skopeo.ts';
import { tempFolder } from '../support/temp.ts';
import { startThrottleProxy } from '../support/throttle-proxy.ts';
import { digestsOf, fetchesOf, leavesNothing, startBranch } from './branch.ts';

const image = createImage({ layers: [1_200_000, 5000], format: 'oci' });
const index = createIndex(
  ['amd64', 'arm64'].map((architecture) =>
    createImage({
      layers: [50_000],
      seed: architecture,
      format: 'oci',
      platform: { os: 'linux', architecture },
    }),
  ),
);

for (const workers of [1, 2]) {
  void t.test(
    `skopeo copies from the edge what it copies from the central, byte for byte, workers: ${workers}`,
    { skip: missing('docker-registry', 'skopeo') },
    async (t) => {
      await using registry = await startRegistry();
      await pushImage(registry.url, 'library/app', 'latest', image);
      await pushImage(registry.url, 'team/tools/many', 'v1', index);
      await using wan = await startThrottleProxy({ to: registry });
      await using edge = await startBranch(wan, { workers });
      // skopeo takes every key in such a folder for a client's: the CA's own must not be there.
      const certDir = tempFolder(t);
      await copyFile(join(edge.dir, 'certs', 'ca.crt'), join(certDir, 'ca.crt'));
      const plain = { srcTlsVerify: false };

      for (const [name, all] of [
        ['library/app:latest', false],
        ['team/tools/many:v1', true],
      ] as const) {
        const expected = await copied(t, registry.url, name, { ...plain, all });
        t.same(await copied(t, edge.http, name, { ...plain, all }), expected, `${name}, cold`);
        const asked = wan.bytesUp;
        t.same(await copied(t, edge.http, name, { ...plain, all }), expected, `${name}, warm`);
        t.same(await copied(t, edge.https, name, { certDir, all }), expected, `${name}, warm, over TLS`);
        t.equal(wan.bytesUp, asked, 'the central was not asked for anything');
      }
      // Once for the copy from the central itself, once for the edge.
      t.same(
        await fetchesOf(registry, digestsOf(image)),
        image.blobs.map(() => 2),
      );
      const untrusted = await skopeoCopy(sourceOf(edge.https, 'library/app:latest'), `dir:${tempFolder(t)}`);
      t.not(untrusted.code, 0);
      t.match(untrusted.stderr, /certificate signed by unknown authority/);
      await leavesNothing(t, edge);
    },
  );
}

/** Every file that skopeo wrote, with the hash of what is in it. */
async function copied(t: Test, base: string, name: string, options: SkopeoOptions): Promise<string[]> {
  const target = tempFolder(t);
  const { code, stderr } = await skopeoCopy(sourceOf(base, name), `dir:${target}`, options);
  t.equal(code, 0, stderr);
  const files = await readdir(target);
  const hashes = files.sort().map(async (file) => {
    const content = await readFile(join(target, file));
    return `${file} ${createHash('sha256').update(content).digest('hex')}`;
  });
  return await Promise.all(hashes);
}

function sourceOf(base: string, name: string): string {
  return `docker://${new URL(base).host}/${name}`;
}
