import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { actsOn } from '../../bench/demo/acts.ts';
import { play } from '../../bench/demo/play.ts';
import { NotAsPromised } from '../../bench/demo/promise.ts';
import { pull, type Published } from '../../bench/demo/pull.ts';
import { Screen } from '../../bench/demo/screen.ts';
import { startCentral, type Central } from '../support/central.ts';
import { get, herd } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from '../support/free-port.ts';
import { createImage } from '../support/images.ts';
import { portAnswers, RunningProcess, runProcess } from '../support/processes.ts';
import { tempFolder } from '../support/temp.ts';

const MAIN = join(import.meta.dirname, '../../bench/demo/main.ts');
const EDGE = join(import.meta.dirname, '../../src/main.ts');
const SMALL = ['--speed', '40', '--size', '6', '--clients', '8'];

void t.test('the demonstration holds what it promises, and says so in its table', async (t) => {
  const TMPDIR = tempFolder(t);
  const run = await runProcess(process.execPath, [MAIN, ...SMALL], { env: { ...process.env, TMPDIR } });
  t.equal(run.code, 0, run.stderr);
  t.equal(run.stderr, '');
  t.notMatch(run.stdout, '\u001b', 'no control characters where there is no terminal');
  t.match(run.stdout, 'All as promised');

  const rows = readTable(run.stdout);
  t.same([...rows.keys()], ['direct pull', 'cold pull', 'warm pull', 'herd', 'no central']);
  t.match(rows.get('direct pull'), { clients: '6.0 MB', wan: '6.0 MB', requests: 9 });
  t.match(rows.get('cold pull'), { clients: '6.0 MB', wan: '6.0 MB', remark: /^1\.00 x the image/ });
  t.match(rows.get('warm pull'), { clients: '6.0 MB', wan: '0 MB', requests: /^[01]$/ });
  t.match(rows.get('herd'), { clients: '16.0 MB', wan: '2.0 MB', remark: /^8 clients, 1\.00 x the image/ });
  t.match(rows.get('no central'), { clients: '6.0 MB', wan: '0 MB', requests: 0, remark: /stale/ });
  t.same(readdirSync(TMPDIR), [], 'the edge and its data are gone');
});

void t.test('--keep leaves the edge running until Ctrl-C, and then nothing', async (t) => {
  const TMPDIR = tempFolder(t);
  await using demo = new RunningProcess(process.execPath, [MAIN, ...SMALL, '--keep'], {
    env: { ...process.env, TMPDIR },
  });
  const [, url = ''] = await shown(demo, /curl -sI (\S+)/);
  const { status, headers } = await get(url, { method: 'HEAD' });
  t.equal(status, 200);
  t.match(headers['cache-status'], /stale/);
  demo.signal('SIGINT');
  t.same(await demo.exited, { code: 0, signal: null });
  await gone(url);
  t.same(readdirSync(TMPDIR), []);
});

void t.test('Ctrl-C in the middle of an act leaves nothing behind', async (t) => {
  const TMPDIR = tempFolder(t);
  await using demo = new RunningProcess(process.execPath, [MAIN, '--speed', '1'], {
    env: { ...process.env, TMPDIR },
  });
  const [, url = ''] = await shown(demo, /edge +(http:\S+),[^]*1 {2}direct pull/);
  t.equal((await get(`${url}/v2/`)).status, 200);
  demo.signal('SIGINT');
  t.same(await demo.exited, { code: 130, signal: null });
  await gone(url);
  t.same(readdirSync(TMPDIR), []);
});

void t.test('wrong usage ends with 2, --help with 0', async (t) => {
  for (const args of [['--clients', '0'], ['--speed', 'fast'], ['--no-such-flag'], ['more']]) {
    const { code, stderr } = await runProcess(process.execPath, [MAIN, ...args]);
    t.equal(code, 2, args.join(' '));
    t.match(stderr, /error:/);
  }
  const help = await runProcess(process.execPath, [MAIN, '--help']);
  t.equal(help.code, 0);
  for (const flag of ['--speed', '--size', '--clients', '--keep']) t.match(help.stdout, flag);
});

void t.test('an edge that is none breaks its promises', async (t) => {
  await using central = await startCentral();
  const app = publish(central, 'demo/app');
  const forAll = publish(central, 'demo/herd');
  const options = { bytesPerSecond: 1e9, imageBytes: 1e5, clients: 3, keep: false };
  // The central in the place of the edge: nothing is kept, nothing is collapsed.
  const [, , warmPull, herdPull, pullAlone] = actsOn({
    options,
    central,
    edge: { http: central.url },
    app,
    herd: forAll,
  });
  const screen = new Screen(new PassThrough());
  if (warmPull === undefined || herdPull === undefined || pullAlone === undefined) throw new Error('acts');
  await t.rejects(play(warmPull, central, screen, []), { name: 'NotAsPromised', message: /warm pull took/ });
  await t.rejects(play(herdPull, central, screen, []), { name: 'NotAsPromised', message: /: 3\.000 x the/ });
  await t.rejects(play(pullAlone, central, screen, []), { name: 'NotAsPromised', message: /ECONNREFUSED/ });
});

void t.test('a pull takes nothing but what the digests say', async (t) => {
  await using central = await startCentral();
  const wanted = publish(central, 'demo/app');
  const { image } = wanted;
  const pullIt = async (): Promise<unknown> =>
    await pull(central.url, wanted, { timeoutMs: 10_000, onBytes: () => undefined });
  const layer = image.layers[1]?.digest ?? '';

  central.on({ reference: layer }, { kind: 'corrupt', offset: 100 });
  await t.rejects(pullIt(), NotAsPromised, 'a flipped bit in a layer');
  central.heal();
  central.on({ reference: layer }, { kind: 'cut', afterBytes: 100 });
  await t.rejects(pullIt(), { name: 'NotAsPromised', message: /broke off after 100 bytes/ });
  central.heal();
  central.on({ reference: image.digest }, { kind: 'corrupt', offset: 3 });
  await t.rejects(pullIt(), NotAsPromised, 'a flipped bit in the manifest');
  central.heal();
  central.on({ reference: layer }, { kind: 'status', status: 503 });
  await t.rejects(pullIt(), { name: 'NotAsPromised', message: /answered 503/ });
  central.heal();
  await pullIt();
  central.moveTag('demo/app', '1.0', createImage({ layers: [5000], seed: 'another' }));
  await t.rejects(pullIt(), NotAsPromised, 'another image under the tag');
});

// Ctrl-C in the middle of a herd takes the log's reader away together with the keeper: no worker may outlive them.
void t.test('a worker whose log nobody reads ends with its keeper', async (t) => {
  const dir = tempFolder(t);
  const [http = 0, admin = 0] = await freePorts(2);
  const listeners = ['--http', `127.0.0.1:${http}`, '--https', 'off', '--admin', `127.0.0.1:${admin}`];
  const args = [EDGE, 'serve', '--data', join(dir, 'data'), '--workers', '2', ...listeners];
  const keeper = spawn(process.execPath, args, { cwd: dir, stdio: ['ignore', 'pipe', 'ignore'] });
  await eventually(async () => (await get(`http://127.0.0.1:${admin}/readyz`)).status === 200);
  const workers = (await readFile(`/proc/${keeper.pid}/task/${keeper.pid}/children`, 'utf8'))
    .trim()
    .split(' ');
  t.teardown(() => {
    keeper.kill('SIGKILL');
    for (const pid of workers) if (existsSync(`/proc/${pid}`)) process.kill(Number(pid), 'SIGKILL');
  });
  // More lines than the pipe holds.
  for (let round = 0; round < 40; round += 1) await herd(`http://127.0.0.1:${http}/v2/`, 50);
  keeper.kill('SIGKILL');
  await once(keeper, 'exit');
  keeper.stdout.destroy();
  await gone(`http://127.0.0.1:${http}`);
});

function publish(central: Central, repository: string): Published {
  const image = createImage({ layers: [40_000, 30_000, 20_000, 10_000], seed: repository });
  central.addImage(repository, '1.0', image);
  return { repository, tag: '1.0', image };
}

/** The edge's workers end when their keeper has, which is a moment later than the demonstration. */
async function gone(url: string): Promise<void> {
  const port = Number(new URL(url).port);
  await eventually(async () => !(await portAnswers(port)), { what: `nothing listens on ${port}` });
}

async function shown(demo: RunningProcess, pattern: RegExp): Promise<RegExpExecArray> {
  return await eventually(() => pattern.exec(demo.stdout), {
    timeoutMs: 60_000,
    what: () => `${pattern} is shown; shown is:\n${demo.lastWords}`,
  });
}

interface TableRow {
  readonly clients: string;
  readonly wan: string;
  readonly requests: number;
  readonly remark: string;
}

/** The lines below the rule, by act. */
function readTable(output: string): Map<string, TableRow> {
  const [, below = ''] = output.split(/^─+$/m);
  const lines = below.split('\n').filter((line) => / s {2}/.test(line));
  return new Map(
    lines.map((line) => {
      const [act = '', , clients = '', wan = '', requests = '', remark = ''] = line.split(/ {2,}/);
      return [act, { clients, wan, requests: Number(requests), remark }];
    }),
  );
}
