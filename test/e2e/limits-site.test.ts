import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get, herd } from '../support/clients.ts';
import type { Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { missing } from '../support/parts.ts';
import { startRedis } from '../support/redis.ts';
import { startBranch } from './branch.ts';

const RATE = 1;
const BURST = 120;

/** So many pings at once; how many were let through. */
async function pings(edge: Edge, count: number, localAddress: string): Promise<number> {
  const answers = await herd(`${edge.http}/v2/`, count, { localAddress });
  return answers.filter(({ status }) => status === 200).length;
}

void t.test(
  'two edges on one Redis hold one rate, and each its own without',
  { skip: missing('redis-server') },
  async (t) => {
    await using central = await startCentral();
    await using redis = await startRedis();
    const start = () =>
      startBranch(central, {
        workers: 1,
        readyWithinMs: 60_000,
        config: {
          redis: { url: redis.url, secret: 'a-secret-of-both-edges-of-the-site', timeout: '2s' },
          limits: { requestsPerSecond: RATE, burst: BURST },
        },
      });
    await using one = await start();
    await using other = await start();
    for (const edge of [one, other])
      await eventually(async () => (await edge.metrics()).value('pierhead_redis_up') === 1);

    await t.test('what was used at one is used at the other', async (t) => {
      const atOne = await pings(one, 200, '127.0.0.3');
      t.ok(atOne >= BURST);
      await eventually(async () => (await redis.keys()).some((key) => key.startsWith('pierhead:rate:')));
      // The other edge hears of it a moment after the caller has used a part of the burst there: one at a time, until one is held up.
      let there = 0;
      await eventually(
        async () => {
          const { status, totalMs } = await get(`${other.http}/v2/`, { localAddress: '127.0.0.3' });
          there += 1;
          return status === 429 || totalMs > 300;
        },
        { timeoutMs: 30_000 },
      );
      t.ok(there < BURST, `${there} at the other edge, too`);
      t.notOk((await redis.dump()).includes('127.0.0.3'));
    });

    await t.test('while Redis stands still', async (t) => {
      redis.pause();
      t.ok((await pings(other, 200, '127.0.0.4')) >= BURST);
      t.ok((await pings(other, 30, '127.0.0.4')) < 20, 'the limit holds');
      const { status, totalMs } = await get(`${other.http}/v2/`, { localAddress: '127.0.0.5' });
      t.equal(status, 200);
      t.ok(totalMs < 2000, `nobody waits for Redis: ${totalMs} ms`);
      redis.resume();
    });

    await t.test('when it is gone', async (t) => {
      await redis.kill();
      t.ok((await pings(one, 200, '127.0.0.6')) >= BURST);
      t.ok((await pings(one, 30, '127.0.0.6')) < 20, 'the limit holds');
    });
  },
);
