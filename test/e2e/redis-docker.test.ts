import t, { type Test } from 'tap';
import { startDockerd } from '../support/docker.ts';
import type { Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { createImage, pushImage, type ImageFixture } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRedis } from '../support/redis.ts';
import { startRedisCluster } from '../support/redis/cluster.ts';
import { startSentinelSite } from '../support/redis/sentinel.ts';
import { startRegistry } from '../support/registry.ts';
import { ALWAYS_ASKS, leavesNothing, startBranch } from './branch.ts';

const PLATFORM = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' };
const SECRET = 'a secret of this site, 32 bytes or more';
const skip = missing('docker-registry', 'dockerd', 'redis-server');

async function upIs(edge: Edge, up: 0 | 1): Promise<void> {
  await eventually(async () => (await edge.metrics()).value('pierhead_redis_up') === up, {
    timeoutMs: 60_000,
    what: `the edge ${up === 1 ? 'reaches' : 'has lost'} Redis`,
  });
}

void t.test('docker pull goes on whatever becomes of Redis', { skip, timeout: 280_000 }, async (t) => {
  await using registry = await startRegistry();
  const port = await freePort();
  await using docker = await startDockerd({ mirrors: [`http://127.0.0.1:${port}`] });
  let seed = 0;
  const named = async (): Promise<{ name: string; image: ImageFixture }> => {
    const name = `app-${(seed += 1)}`;
    const image = createImage({ layers: [50_000, 60_000], seed, platform: PLATFORM });
    await pushImage(registry.url, `library/${name}`, 'latest', image);
    return { name, image };
  };
  const known = await named();

  /** One that the edge has and one that it does not. */
  const pulls = async (t: Test, when: string): Promise<void> => {
    const fresh = await named();
    for (const { name, image } of [known, fresh]) {
      await docker.pull(name);
      t.equal(await docker.imageId(name), image.imageId, `${when}: ${name}`);
      await docker.remove(name);
    }
  };
  const startEdgeOn = async (redis: object): Promise<Edge> => {
    const config = { redis: { ...redis, secret: SECRET }, freshness: ALWAYS_ASKS };
    const edge = await startBranch(registry, { workers: 2, flags: ['--http', `127.0.0.1:${port}`], config });
    await upIs(edge, 1);
    return edge;
  };

  await t.test('one server: killed, stopped, full, read-only, flushed', async (t) => {
    await using redis = await startRedis();
    await using edge = await startEdgeOn({ url: redis.url });
    await pulls(t, 'all is well');
    redis.pause();
    await pulls(t, 'stopped');
    redis.resume();
    await upIs(edge, 1);
    await redis.command('CONFIG', 'SET', 'maxmemory', '1');
    await pulls(t, 'full');
    await redis.command('CONFIG', 'SET', 'maxmemory', '0');
    await redis.command('REPLICAOF', '127.0.0.1', '9');
    await pulls(t, 'read-only');
    await redis.command('REPLICAOF', 'NO', 'ONE');
    await redis.command('FLUSHALL');
    await pulls(t, 'flushed');
    await redis.kill();
    await pulls(t, 'killed');
    await upIs(edge, 0);
    await redis.start();
    await upIs(edge, 1);
    await pulls(t, 'back');
    await leavesNothing(t, edge);
  });

  await t.test('Sentinel: the master dies and another takes its place', async (t) => {
    await using site = await startSentinelSite();
    await using edge = await startEdgeOn({ sentinels: site.sentinels, name: site.name });
    await pulls(t, 'before');
    const master = await site.masterPort();
    await site.first.kill();
    await pulls(t, 'without a master');
    await site.failedOver(master);
    await upIs(edge, 1);
    await pulls(t, 'on the new master');
    await leavesNothing(t, edge);
  });

  await t.test('a cluster of three loses a node', async (t) => {
    await using cluster = await startRedisCluster();
    const [first, ...others] = cluster.nodes;
    if (first === undefined) throw new Error('no node');
    const nodes = others.map(({ host, port }) => `${host}:${port}`);
    await using edge = await startEdgeOn({ url: first.url, cluster: true, nodes });
    await pulls(t, 'whole');
    await first.kill();
    await pulls(t, 'without the node that the configuration names first');
    await leavesNothing(t, edge);
  });
});
