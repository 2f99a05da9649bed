import { join } from 'node:path';
import t from 'tap';
import { startDockerd } from '../support/docker.ts';
import { freePort } from '../support/free-port.ts';
import { createImage, createIndex, pushImage } from '../support/images.ts';
import { runProcess } from '../support/processes.ts';
import { missing } from '../support/parts.ts';
import { startRegistry } from '../support/registry.ts';
import { startThrottleProxy } from '../support/throttle-proxy.ts';
import {
  answersOf,
  answersWith,
  digestsOf,
  fetchesOf,
  leavesNothing,
  outerAddress,
  startBranch,
} from './branch.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
const image = createImage({ layers: [800_000, 5000] });
const child = createImage({
  layers: [6000],
  seed: 'child',
  format: 'oci',
  platform: { os: 'linux', architecture },
});
const index = createIndex([child]);
const address = outerAddress ?? '';

void t.test(
  'docker pulls over TLS, trusting the CA that the edge made',
  { skip: outerAddress === undefined ? 'no address but loopback' : missing('docker-registry', 'dockerd') },
  async (t) => {
    await using registry = await startRegistry();
    await pushImage(registry.url, 'library/app', 'latest', image);
    await pushImage(registry.url, 'library/platforms', 'latest', index);
    await using wan = await startThrottleProxy({ to: registry });
    const port = await freePort(address);
    await using edge = await startBranch(wan, {
      workers: 2,
      flags: ['--https', `${address}:${port}`],
      config: { tls: { names: [address] }, access: { allow: [address] } },
    });
    const hostPort = `${address}:${port}`;
    const mirrors = [`https://${hostPort}`];

    await t.test('with the CA', async (t) => {
      const caFile = join(edge.dir, 'certs', 'ca.crt');
      await using docker = await startDockerd({ mirrors, certsFor: [{ hostPort, caFile }] });
      await docker.pull('app');
      t.equal(await docker.imageId('app'), image.imageId);
      t.same(
        await fetchesOf(registry, digestsOf(image)),
        image.blobs.map(() => 1),
      );
      const asked = wan.bytesUp;
      const from = (await answersWith(edge, 0, digestsOf(image))).length;
      await docker.remove('app');
      await docker.pull('app');
      t.equal(await docker.imageId('app'), image.imageId);
      const lines = await answersWith(edge, from, ['latest', ...digestsOf(image)]);
      for (const { route, cache } of lines) t.equal(cache, route === 'ping' ? 'none' : 'hit');
      t.equal(wan.bytesUp, asked, 'the central was not asked for anything');

      await docker.pull('platforms');
      t.equal(await docker.imageId('platforms'), child.imageId);

      const config = ['--config', join(edge.dir, 'pierhead.yaml'), '--data', join(edge.dir, 'data')];
      const rotated = await runProcess(process.execPath, [MAIN, 'certs', 'rotate', ...config]);
      t.match(rotated.stdout, 'The edge that runs serves it from now on', rotated.stderr);
      await docker.remove('app');
      await docker.pull('app');
      t.equal(await docker.imageId('app'), image.imageId, 'after a rotation as before it');
    });

    await t.test('without it', async (t) => {
      await answersWith(edge, 0, digestsOf(child));
      const answered = answersOf(edge).length;
      await using wary = await startDockerd({ mirrors });
      await t.rejects(wary.pull('app'));
      t.match(wary.log, /certificate signed by unknown authority/);
      t.equal(answersOf(edge).length, answered, 'no request came through');
    });
    await leavesNothing(t, edge);
  },
);
