import cluster from 'node:cluster';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Supervisor } from '../../src/cluster/supervisor.ts';
import { ms } from '../../src/lib/brand.ts';
import { exposition } from '../../src/observe/metrics.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { parseMetrics } from '../support/metrics.ts';
import { openKeeper } from './fixture.ts';
import type { Script } from './scripted-worker.ts';

cluster.setupPrimary({ exec: join(import.meta.dirname, 'scripted-worker.ts'), execArgv: [], args: [] });

interface Supervised {
  readonly supervisor: Supervisor<Script>;
  readonly clock: FakeClock;
  /** Process ids of workers that got ready, in that order. */
  readonly started: number[];
  readonly died: string[];
  /** What all workers together say that they have counted. */
  readonly counted: () => Promise<number>;
}

async function supervise(t: Test, count: number, settings: Script): Promise<Supervised> {
  const { keeper } = await openKeeper(t);
  const clock = new FakeClock();
  const started: number[] = [];
  const died: string[] = [];
  const events = {
    workerStarted: (pid: number | undefined) => started.push(pid ?? 0),
    workerDied: (_: number | undefined, how: string) => died.push(how),
  };
  const supervisor = new Supervisor<Script>({ core: keeper.core, clock, count, settings, events });
  t.teardown(() => supervisor.drain(ms(0)));
  const counted = async (): Promise<number> => {
    const { text } = await exposition(await supervisor.collect());
    return parseMetrics(text).value('pierhead_served_bytes_total');
  };
  return { supervisor, clock, started, died, counted };
}

void t.test('a worker that is killed is replaced', async (t) => {
  const { supervisor, clock, started, died } = await supervise(t, 2, { at: 'serve' });
  await supervisor.start();
  t.equal(supervisor.ready, 2);
  await clock.advance(10_001);
  process.kill(started[0] ?? 0, 'SIGKILL');
  await eventually(() => started.length === 3);
  t.equal(clock.sleeping, 0, 'at once, since it had lived for a while');
  t.equal(supervisor.ready, 2);
  t.same(died, ['SIGKILL']);
  t.equal(new Set(started).size, 3);
});

void t.test('workers that die at once are replaced with growing pauses, up to half a minute', async (t) => {
  const { supervisor, clock, started, died } = await supervise(t, 1, { at: 'serve' });
  await supervisor.start();
  await supervisor.reload({ at: 'crash' });
  process.kill(started[0] ?? 0, 'SIGKILL');
  const pauses = [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
  for (const [deaths, pause] of pauses.entries()) {
    await eventually(() => died.length === deaths + 1 && clock.sleeping === 1);
    await clock.advance(pause - 1);
    t.equal(clock.sleeping, 1, `after ${pause - 1} ms it still waits`);
    if (deaths === pauses.length - 1) await supervisor.reload({ at: 'serve' });
    await clock.advance(1);
  }
  await eventually(() => started.length === 2, { what: 'the one that does not crash serves' });
  t.same(died, ['SIGKILL', ...Array.from({ length: 9 }, () => 'exit code 7')]);
  await clock.advance(10_001);
  process.kill(started[1] ?? 0, 'SIGKILL');
  await eventually(() => started.length === 3);
  t.equal(clock.sleeping, 0, 'a steady worker is replaced at once again');
  process.kill(started[2] ?? 0, 'SIGKILL');
  await eventually(() => clock.sleeping === 1);
  await clock.advance(200);
  t.equal(clock.sleeping, 0, 'and the pauses begin anew');
});

void t.test('a worker that cannot serve: the start says why, a later one is tried again', async (t) => {
  const failing = await supervise(t, 2, { at: 'fail' });
  await t.rejects(failing.supervisor.start(), { code: 'EADDRINUSE', message: 'no such port' });

  const { supervisor, clock, started, died } = await supervise(t, 1, { at: 'serve' });
  await supervisor.start();
  await supervisor.reload({ at: 'fail' });
  process.kill(started[0] ?? 0, 'SIGKILL');
  await eventually(() => clock.sleeping === 1);
  await clock.advance(200);
  await eventually(() => died.length === 2 && clock.sleeping === 1);
  await supervisor.reload({ at: 'serve' });
  await clock.advance(400);
  await eventually(() => supervisor.ready === 1);
});

void t.test('a worker that ends at its start ends the start', async (t) => {
  const { supervisor } = await supervise(t, 1, { at: 'crash' });
  await t.rejects(supervisor.start(), { message: 'a worker ended at its start (7)' });
});

void t.test('a reload is done when every worker has the new settings', async (t) => {
  const { supervisor, clock, counted } = await supervise(t, 2, { at: 'serve' });
  await supervisor.start();
  await supervisor.reload({ at: 'serve', countedAtReload: 10 });
  t.equal(await counted(), 20);
  t.equal(clock.sleeping, 0, 'nobody is waited for any more');
});

void t.test(
  'a worker that refuses new settings, or does not take them, is replaced by one that has them',
  async (t) => {
    for (const reload of ['refuse', 'hang'] as const) {
      const { supervisor, clock, started, died, counted } = await supervise(t, 1, { at: 'serve', reload });
      await supervisor.start();
      const reloaded = supervisor.reload({ at: 'serve', counted: 5 });
      if (reload === 'hang') {
        await clock.advance(14_999);
        t.equal(died.length, 0, 'it has fifteen seconds');
        await clock.advance(1);
      }
      await reloaded;
      t.same(died, ['SIGKILL'], reload);
      await eventually(async () => {
        await clock.advance(200);
        return started.length === 2;
      });
      t.equal(await counted(), 5);
    }
  },
);

void t.test('counters are the sum, and stay when a worker goes', async (t) => {
  const { supervisor, clock, started, died, counted } = await supervise(t, 2, { at: 'serve', counted: 3 });
  await supervisor.start();
  t.equal(await counted(), 6);
  await supervisor.reload({ at: 'serve', counted: 10 });
  process.kill(started[0] ?? 0, 'SIGKILL');
  await eventually(() => died.length === 1 && clock.sleeping === 1);
  t.equal(await counted(), 6, 'what it had counted is still there');
  await clock.advance(200);
  await eventually(() => supervisor.ready === 2);
  t.equal(await counted(), 16);
});

void t.test('a worker that goes during a scrape counts once', async (t) => {
  const { supervisor, clock, started, died, counted } = await supervise(t, 2, { at: 'serve', counted: 3 });
  await supervisor.start();
  t.equal(await counted(), 6);
  await supervisor.reload({ at: 'serve', mute: true });
  const scrape = counted();
  t.equal(clock.sleeping, 2, 'it waits for both');
  process.kill(started[0] ?? 0, 'SIGKILL');
  await eventually(() => died.length === 1);
  await eventually(() => clock.sleeping === 2, { what: 'one waits to be replaced, one scrape goes on' });
  await clock.advance(2000);
  t.equal(await scrape, 6, 'two seconds, then the last known numbers');
});
