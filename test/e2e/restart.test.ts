import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startCentral, type Central } from '../support/central.ts';
import { get, type Answer } from '../support/clients.ts';
import type { Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { randomBlob } from '../support/images.ts';
import { portAnswers } from '../support/processes.ts';
import { fillsRunning, leavesNothing, partialFiles, startBranch } from './branch.ts';

const blob = randomBlob(6_000_000, 'restart');
const HALF = blob.size / 2;

for (const workers of [1, 2]) {
  void t.test(`SIGTERM lets a download end, workers: ${workers}`, async (t) => {
    await using central = await startCentral();
    const gate = heldAtHalf(central);
    await using edge = await startBranch(central, { workers });
    const download = get(urlOf(edge));
    await halfIsHere(edge);
    const stopped = edge.stop();
    await eventually(async () => !(await portAnswers(Number(new URL(edge.http).port))), {
      what: 'nobody new is let in',
    });
    gate.resolve();
    isWhole(t, await download);
    t.same(await stopped, { code: 0, signal: null });
    t.same(await partialFiles(edge), [], 'and what it fetched is kept');
    await edge.restart();
    t.equal((await get(urlOf(edge))).headers['cache-status'], 'pierhead; hit');
    t.equal(central.requests('GET', 'blob'), 1);
    await leavesNothing(t, edge);
  });

  void t.test(`killed at half of a cold blob, only the rest is fetched, workers: ${workers}`, async (t) => {
    await using central = await startCentral();
    heldAtHalf(central);
    await using edge = await startBranch(central, { workers });
    const download = get(urlOf(edge));
    await halfIsHere(edge);
    await edge.kill();
    t.equal((await download).complete, false);
    central.heal();
    await edge.restart();
    isWhole(t, await get(urlOf(edge)));
    t.ok(central.bytesSent(blob.digest) <= 1.02 * blob.size, `${central.bytesSent(blob.digest)} bytes`);
    t.match(
      central.find({ kind: 'blob' }).map(({ headers }) => headers.range),
      [undefined, `bytes=${HALF}-`],
    );
    await leavesNothing(t, edge);
  });
}

void t.test('a fill outlives every worker that served it', async (t) => {
  await using central = await startCentral();
  const gate = heldAtHalf(central);
  await using edge = await startBranch(central, { workers: 2 });
  await eventually(() => workersOf(edge).length === 2);
  const first = get(urlOf(edge));
  await halfIsHere(edge);
  const workers = workersOf(edge);
  for (const [index, pid] of workers.entries()) {
    process.kill(pid, 'SIGKILL');
    await eventually(() => workersOf(edge).length === 3 + index, { what: 'the worker is replaced' });
    t.equal(await fillsRunning(edge), 1, 'the fill goes on');
    t.equal((await get(`${edge.http}/v2/`)).status, 200);
  }
  t.match(
    await first,
    { complete: false, error: 'ECONNRESET' },
    'its client is told by the broken connection',
  );
  t.equal((await edge.metrics()).value('pierhead_worker_restarts_total'), 2);

  const second = get(urlOf(edge));
  gate.resolve();
  isWhole(t, await second);
  // A client has its last byte a moment before the blob is in its place.
  await eventually(async () => (await fillsRunning(edge)) === 0);
  t.equal((await get(urlOf(edge))).headers['cache-status'], 'pierhead; hit');
  t.equal(central.requests('GET', 'blob'), 1, 'one transfer in all');
  t.equal(central.bytesSent(blob.digest), blob.size);
  await leavesNothing(t, edge);
});

/** The central falls silent at half of the blob, once, until the gate opens. */
function heldAtHalf(central: Central): PromiseWithResolvers<void> {
  const gate = Promise.withResolvers<void>();
  central.addBlob('library/app', blob);
  central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: HALF, until: gate.promise, times: 1 });
  return gate;
}

async function halfIsHere(edge: Edge): Promise<void> {
  const file = join(edge.dir, 'data', 'v1', 'partial', blob.digest.replace(':', '-'));
  await eventually(async () => (await stat(file)).size === HALF, { what: 'half of the blob is here' });
}

/** The process ids of all workers that have served since the edge started. */
function workersOf(edge: Edge): number[] {
  return edge
    .logs()
    .filter(({ msg }) => msg === 'worker serves')
    .map(({ pid }) => Number(pid));
}

function urlOf(edge: Edge): string {
  return `${edge.http}/v2/library/app/blobs/${blob.digest}`;
}

function isWhole(t: Test, answer: Answer): void {
  t.equal(answer.status, 200);
  t.ok(answer.complete);
  t.equal(`sha256:${answer.sha256}`, blob.digest);
}
