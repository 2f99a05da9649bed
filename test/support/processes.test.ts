import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { portAnswers, runProcess, startProcess } from './processes.ts';
import { TempFolder, tempFolder } from './temp.ts';

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

void t.test('runs a program to its end', async (t) => {
  const { code, stdout, stderr } = await runProcess('sh', ['-c', 'echo out; echo err >&2; exit 3']);
  t.same({ code, stdout, stderr }, { code: 3, stdout: 'out\n', stderr: 'err\n' });
});

void t.test('a program that takes too long is ended', async (t) => {
  const { signal } = await runProcess('sleep', ['60'], { timeoutMs: 20 });
  t.equal(signal, 'SIGKILL');
});

void t.test('waits until the program is ready, and ends it', async (t) => {
  const port = await freePort();
  const script = `require('net').createServer().listen(${port}, '127.0.0.1')`;
  const server = await startProcess(process.execPath, ['-e', script], { ready: () => portAnswers(port) });
  t.ok(server.running);
  t.same(await server.stop(), { code: null, signal: 'SIGTERM' });
  t.notOk(await portAnswers(port));
  t.same(await server.stop(), { code: null, signal: 'SIGTERM' }, 'a second stop is harmless');
});

void t.test('a program that ignores SIGTERM is killed', async (t) => {
  const stubborn = await startProcess(
    'sh',
    ['-c', 'trap "" TERM; echo ready; while :; do sleep 0.05; done'],
    {
      ready: (running) => running.stdout.includes('ready'),
    },
  );
  t.same(await stubborn.stop(10), { code: null, signal: 'SIGKILL' });
});

void t.test('a program that ends before it is ready: its words are in the error', async (t) => {
  const starting = startProcess('sh', ['-c', 'echo no such luck >&2; exit 4'], { ready: () => false });
  await t.rejects(starting, { message: /code 4[^]*no such luck/ });
});

void t.test('a program that never gets ready is ended', async (t) => {
  let pid = 0;
  const starting = startProcess('sleep', ['60'], {
    readyWithinMs: 20,
    ready: (running) => {
      pid = running.pid;
      return false;
    },
  });
  await t.rejects(starting, { message: /sleep is ready/ });
  t.notOk(alive(pid));
});

void t.test('a program that does not exist', async (t) => {
  await t.rejects(startProcess('/nowhere/program', [], { ready: () => false }), { message: /program/ });
});

void t.test('nothing is left of a test that ends badly', async (t) => {
  const dir = tempFolder(t);
  const support = (name: string): string => JSON.stringify(join(import.meta.dirname, name));
  const script = `
    import { startProcess } from ${support('processes.ts')};
    import { TempFolder } from ${support('temp.ts')};
    const folder = new TempFolder();
    const child = await startProcess('sleep', ['60'], { cwd: folder.path });
    console.log(JSON.stringify({ folder: folder.path, pid: child.pid }));
    if (process.argv[1] === 'throw') throw new Error('a test throws');
    setInterval(() => undefined, 1000);
  `;
  for (const end of ['throw', 'SIGTERM', 'SIGINT', 'SIGKILL'] as const) {
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script, end], {
      env: { ...process.env, TMPDIR: dir },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const closed = once(parent, 'close');
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const { folder, pid } = JSON.parse(line.toString()) as { folder: string; pid: number };
    if (end !== 'throw') parent.kill(end);
    await closed;
    await eventually(() => !alive(pid), { what: `${end}: the child ends` });
    // Nobody can clean up after SIGKILL, but the kernel ends the children.
    if (end !== 'SIGKILL') t.notOk(existsSync(folder), `${end}: the folder is removed`);
  }
});

void t.test('a throwaway folder goes with its scope', async (t) => {
  let path = '';
  {
    await using folder = new TempFolder();
    ({ path } = folder);
    t.ok(existsSync(path));
  }
  t.notOk(existsSync(path));
});
