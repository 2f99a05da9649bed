import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { get } from '../support/clients.ts';
import { startDockerd } from '../support/docker.ts';
import type { Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { createImage, pushImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRegistry } from '../support/registry.ts';
import { skopeoCopy } from '../support/skopeo.ts';
import { tempFolder } from '../support/temp.ts';
import { startThrottleProxy } from '../support/throttle-proxy.ts';
import { ALWAYS_ASKS, answersOf, answersWith, digestsOf, leavesNothing, startBranch } from './branch.ts';

const image = createImage({ layers: [700_000, 5000] });
const strange = createImage({ layers: [6000], seed: 'strange' });
const large = createImage({ layers: [4_000_000], seed: 'large' });

void t.test(
  'what was pulled once stays pullable while the central is down',
  { skip: missing('docker-registry', 'dockerd', 'skopeo') },
  async (t) => {
    await using registry = await startRegistry();
    await pushImage(registry.url, 'library/app', 'latest', image);
    await pushImage(registry.url, 'library/strange', 'latest', strange);
    const port = await freePort();
    await using docker = await startDockerd({ mirrors: [`http://127.0.0.1:${port}`] });
    await using edge = await startBranch(registry, {
      workers: 2,
      flags: ['--http', `127.0.0.1:${port}`],
      config: { freshness: ALWAYS_ASKS },
    });
    const base = `http://127.0.0.1:${port}`;
    await docker.pull('app');
    await docker.remove('app');
    await registry.stop();

    await t.test('docker and skopeo pull it, stale', async (t) => {
      const from = (await answersWith(edge, 0, digestsOf(image))).length;
      await docker.pull('app');
      t.equal(await docker.imageId('app'), image.imageId);
      const lines = await answersWith(edge, from, ['latest', ...digestsOf(image)]);
      const byTag = lines.filter(({ reference }) => reference === 'latest');
      for (const { cache } of byTag) t.equal(cache, 'stale');
      for (const { cache, route } of lines.filter((line) => !byTag.includes(line)))
        t.equal(cache, route === 'ping' ? 'none' : 'hit');
      await copiesWhole(t, base);
    });

    await t.test('what was never pulled fails at once, and clearly', async (t) => {
      const answer = await get(`${base}/v2/library/strange/manifests/latest`, {
        keepBody: true,
        timeoutMs: 10_000,
      });
      t.equal(answer.status, 503);
      t.equal(answer.headers['content-type'], 'application/json');
      t.match(JSON.parse(answer.body.toString()), { errors: [{ code: 'UNAVAILABLE', detail: /upstream/ }] });
      await t.rejects(docker.pull('strange'));
      t.match(docker.log, /Attempting next endpoint/);
      t.equal((await get(`${base}/v2/`)).status, 200);
    });

    await t.test('a restart changes nothing of that', async (t) => {
      await edge.restart();
      await docker.remove('app');
      await docker.pull('app');
      t.equal(await docker.imageId('app'), image.imageId);
      await copiesWhole(t, base);
    });

    await t.test('when it is back, so is everything', async () => {
      await registry.start();
      await eventually(async () => (await get(`${base}/v2/library/strange/manifests/latest`)).status === 200);
      await docker.pull('strange');
      t.equal(await docker.imageId('strange'), strange.imageId);
      const revalidated = (): boolean => answersOf(edge).some(({ cache }) => cache === 'revalidated');
      await eventually(async () => {
        await get(`${base}/v2/library/app/manifests/latest`);
        return revalidated();
      });
    });
    await leavesNothing(t, edge);
  },
);

void t.test(
  'docker does not notice that the line was cut in the middle of a layer',
  { skip: missing('docker-registry', 'dockerd') },
  async (t) => {
    await using registry = await startRegistry();
    await pushImage(registry.url, 'library/large', 'latest', large);
    await using wan = await startThrottleProxy({ to: registry, bytesPerSecond: 2_000_000 });
    await using edge = await startBranch(wan, { workers: 2 });
    await using docker = await startDockerd({ mirrors: [edge.http] });
    const pulled = docker.pull('large');
    await Promise.race([pulled, eventually(() => wan.bytesDown > large.totalBytes / 2)]);
    await wan.stop();
    await eventually(async () => (await failures(edge)) > 0, { what: 'the edge has seen that it is cut' });
    wan.bytesPerSecond = Infinity;
    await wan.start();
    await pulled;
    t.equal(await docker.imageId('large'), large.imageId);
    t.equal(docker.log.match(/Attempting next endpoint|retrying/gi), null);
    const lines = await answersWith(edge, 0, digestsOf(large));
    t.equal(lines.filter(({ route }) => route === 'blob').length, large.blobs.length);
    t.ok((await edge.metrics()).value('pierhead_fill_resumes_total') > 0, 'the fill was resumed');
    // What was on the line when it was cut is lost.
    t.ok(wan.bytesDown < 1.1 * large.totalBytes);
    await leavesNothing(t, edge);
  },
);

async function failures(edge: Edge): Promise<number> {
  return (await edge.metrics()).value('pierhead_upstream_failures_total');
}

async function copiesWhole(t: Test, base: string): Promise<void> {
  const target = tempFolder(t);
  const source = `docker://${new URL(base).host}/library/app:latest`;
  const { code, stderr } = await skopeoCopy(source, `dir:${target}`, { srcTlsVerify: false });
  t.equal(code, 0, stderr);
  t.same(await readFile(join(target, 'manifest.json')), image.manifest.bytes);
  for (const digest of digestsOf(image)) {
    const content = await readFile(join(target, digest.slice('sha256:'.length)));
    t.equal(`sha256:${createHash('sha256').update(content).digest('hex')}`, digest);
  }
}
