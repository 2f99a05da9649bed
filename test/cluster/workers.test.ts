import t from 'tap';
import { get, herd } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning, serveImage, warm } from '../server/fixture.ts';

const served = await serveImage([100_000], { workers: 2 });
await warm(served);
const { edge, central, image } = served;
const manifest = `${edge.http}/v2/library/app/manifests/latest`;

const workers = async (): Promise<number[]> =>
  [...(await edge.rssOf()).keys()].filter((pid) => pid !== edge.pid);
const counted = async (name: string): Promise<number> => (await edge.metrics()).value(name);

void t.test(
  'a worker that is killed is replaced; the others serve on, and no counter goes back',
  async (t) => {
    await herd(manifest, 20);
    await eventually(async () => (await counted('pierhead_requests_total')) >= 20);
    const before = await edge.metrics();
    const [victim = 0, other = 0] = await workers();
    t.ok(victim > 0 && other > 0);
    process.kill(victim, 'SIGKILL');
    await eventually(async () => (await counted('pierhead_worker_restarts_total')) === 1);
    // Whether the new one is there yet or not.
    for (const { status } of await herd(manifest, 20)) t.equal(status, 200);
    await eventually(async () => (await counted('pierhead_workers')) === 2);
    const now = await workers();
    t.ok(now.includes(other) && !now.includes(victim) && now.length === 2);
    const after = await edge.metrics();
    for (const { name, labels, value } of before.samples) {
      if (!/_(?:total|count|bucket)$/.test(name)) continue;
      t.ok(after.value(name, labels) >= value, `${name} ${JSON.stringify(labels)}`);
    }
    t.ok(
      edge.logs().some(({ pid, how }) => pid === victim && how === 'SIGKILL'),
      'the log says so',
    );
  },
);

void t.test('both killed at once: back in service', async (t) => {
  for (const pid of await workers()) process.kill(pid, 'SIGKILL');
  await eventually(async () => (await counted('pierhead_worker_restarts_total')) === 3);
  await eventually(async () => (await counted('pierhead_workers')) === 2);
  const answer = await get(manifest);
  t.equal(`sha256:${answer.sha256}`, image.digest);
  t.same(central.log, [], 'out of the cache, as before');
  t.same(await edge.stop(), { code: 0, signal: null });
});

void t.test('a keeper that is killed takes its workers along, and loses nothing', async (t) => {
  await edge.restart();
  const pids = await workers();
  t.equal(pids.length, 2);
  await edge.kill();
  await eventually(() => pids.every((pid) => !isRunning(pid)), { what: 'no worker outlives it' });
  await edge.restart();
  t.equal(`sha256:${(await get(manifest)).sha256}`, image.digest);
  for (const { digest } of image.blobs) {
    t.equal(`sha256:${(await get(`${edge.http}/v2/library/app/blobs/${digest}`)).sha256}`, digest);
  }
  t.same(central.log, []);
});
