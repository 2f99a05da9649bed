import { randomUUID } from 'node:crypto';
import t, { type Test } from 'tap';
import type { RedisTarget } from '../../../src/store/redis/redis-target.ts';
import { missing } from '../../support/parts.ts';
import { startRedis } from '../../support/redis.ts';
import { startRedisCluster } from '../../support/redis/cluster.ts';
import { metadataStoreConformance } from '../metadata-store-conformance.ts';
import { openRedis, standalone } from './fixture.ts';

const skip = missing('redis-server');

/** One server for a whole suite; each room is a prefix of its own in it. */
function conformance(t: Test, target: RedisTarget): void {
  metadataStoreConformance(t, (t) => {
    const prefix = `${randomUUID()}:`;
    return {
      open: async (storeClock) => {
        const opened = openRedis(t, target, { prefix, storeClock });
        await opened.ready();
        return opened.store;
      },
    };
  });
}

void t.test('conformance, one server', { skip }, async (t) => {
  const redis = await startRedis();
  t.teardown(() => redis.remove());
  conformance(t, standalone(redis));
});

void t.test('conformance, a cluster', { skip }, async (t) => {
  const cluster = await startRedisCluster();
  t.teardown(() => cluster.remove());
  const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }));
  conformance(t, { mode: 'cluster', nodes: nodes.slice(0, 1), database: 0 });
});
