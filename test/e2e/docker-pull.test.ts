import t from 'tap';
import { startDockerd, type Docker } from '../support/docker.ts';
import { freePort } from '../support/free-port.ts';
import { createImage, createIndex, pushImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRegistry } from '../support/registry.ts';
import { startThrottleProxy } from '../support/throttle-proxy.ts';
import {
  ALWAYS_ASKS,
  answersOf,
  answersWith,
  digestsOf,
  fetchesOf,
  leavesNothing,
  startBranch,
} from './branch.ts';

const LINUX = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' };
const OTHER = { os: 'linux', architecture: 's390x' };

const image = createImage({ layers: [1_500_000, 300_000, 5000], platform: LINUX });
const ours = createImage({ layers: [400_000], seed: 'ours', format: 'oci', platform: LINUX });
const theirs = createImage({ layers: [400_000], seed: 'theirs', format: 'oci', platform: OTHER });
const index = createIndex([theirs, ours]);
// The first layer is the same: it is made of the same size and seed.
const moved = createImage({ layers: [1_500_000, 310_000], platform: LINUX });

void t.test('docker pulls through the edge', { skip: missing('docker-registry', 'dockerd') }, async (t) => {
  await using registry = await startRegistry();
  await pushImage(registry.url, 'library/app', 'latest', image);
  await pushImage(registry.url, 'library/platforms', 'latest', index);
  await using wan = await startThrottleProxy({ to: registry });
  const port = await freePort();
  const flags = ['--http', `127.0.0.1:${port}`];
  await using docker = await startDockerd({ mirrors: [`http://127.0.0.1:${port}`] });

  for (const workers of [1, 2]) {
    await t.test(`an image, cold and warm, workers: ${workers}`, async (t) => {
      await registry.stop();
      await registry.start();
      await using edge = await startBranch(wan, { workers, flags });
      const before = wan.bytesDown;
      await docker.pull('app');
      t.equal(await docker.imageId('app'), image.imageId);
      t.same(
        await fetchesOf(registry, digestsOf(image)),
        image.blobs.map(() => 1),
      );
      t.ok(wan.bytesDown - before < 1.02 * image.totalBytes, 'the line carried it once');

      const asked = wan.bytesUp;
      const first = await answersWith(edge, 0, digestsOf(image));
      await pullAgain(docker, 'app');
      t.equal(await docker.imageId('app'), image.imageId);
      // docker may still have the manifest: it keeps those when the image goes.
      const lines = await answersWith(edge, first.length, ['latest', ...digestsOf(image)]);
      const cached = lines.filter(({ route }) => route !== 'ping');
      t.ok(cached.length >= 1 + image.blobs.length);
      for (const { status, cache } of cached) t.match({ status, cache }, { status: 200, cache: 'hit' });
      t.equal(wan.bytesUp, asked, 'the central was not asked for anything');

      // A pull of what docker has is one question, and the central does not hear of it.
      await docker.pull('app');
      t.equal(wan.bytesUp, asked);
      await docker.remove('app');
      await leavesNothing(t, edge);
    });
  }

  await t.test('one platform of an index, cold and warm, workers: 2', async (t) => {
    await using edge = await startBranch(wan, { workers: 2, flags });
    await docker.pull('platforms');
    t.equal(await docker.imageId('platforms'), ours.imageId);
    const asked = wan.bytesUp;
    const from = (await answersWith(edge, 0, digestsOf(ours))).length;
    await pullAgain(docker, 'platforms');
    t.equal(await docker.imageId('platforms'), ours.imageId);
    const lines = await answersWith(edge, from, ['latest', ...digestsOf(ours)]);
    for (const { route, cache } of lines) t.equal(cache, route === 'ping' ? 'none' : 'hit');
    t.equal(wan.bytesUp, asked, 'the central was not asked for anything');
    for (const digest of digestsOf(theirs))
      t.notMatch(registry.log, `GET /v2/library/platforms/blobs/${digest}`);
    await docker.remove('platforms');
    await leavesNothing(t, edge);
  });

  await t.test('a tag that moves', async (t) => {
    await using edge = await startBranch(wan, { workers: 2, flags, config: { freshness: ALWAYS_ASKS } });
    await docker.pull('app');
    t.equal(await docker.imageId('app'), image.imageId);
    await pullAgain(docker, 'app');
    const revalidated = answersOf(edge).filter(({ cache }) => cache === 'revalidated');
    t.ok(revalidated.length > 0, 'the tag was asked about');

    await pushImage(registry.url, 'library/app', 'latest', moved);
    const before = wan.bytesDown;
    const from = answersOf(edge).length;
    await pullAgain(docker, 'app');
    t.equal(await docker.imageId('app'), moved.imageId);
    t.ok(wan.bytesDown - before < 400_000, 'the layer that was here already did not travel again');
    const [kept] = moved.layers;
    const lines = await answersWith(edge, from, digestsOf(moved));
    t.equal(lines.find(({ reference }) => reference === kept?.digest)?.cache, 'hit');
    await docker.remove('app');
    await leavesNothing(t, edge);
  });
});

async function pullAgain(docker: Docker, image: string): Promise<void> {
  await docker.remove(image);
  await docker.pull(image);
}
