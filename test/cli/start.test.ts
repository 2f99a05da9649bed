import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { get } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { startEdge } from '../support/edge.ts';
import { freePorts } from '../support/free-port.ts';
import { tempFolder, type Teardown } from '../support/temp.ts';
import { isRunning, serveImage, warm } from '../server/fixture.ts';
import { pierhead } from './pierhead.ts';

const served = await serveImage([20_000_000], { workers: 2 });
await warm(served);
const { edge, central, image } = served;
const blobPath = `/v2/library/app/blobs/${image.layers[0]?.digest}`;
const data = join(edge.dir, 'data');
const [spare = 0] = await freePorts(1);
const OFF = ['--https', 'off', '--admin', 'off'];

/** Somebody else's server. */
async function takenPort(t: Teardown): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function stalledClient(): Promise<Socket> {
  const { hostname, port } = new URL(edge.http);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  socket.write(`GET ${blobPath} HTTP/1.1\r\nHost: edge\r\n\r\n`);
  await once(socket, 'readable');
  return socket;
}

void t.test('a start that cannot be: exit 1, why, and what to do', async (t) => {
  const cwd = tempFolder(t, 'start');
  const taken = await takenPort(t);
  const long = join(cwd, 'l'.repeat(110));
  writeFileSync(join(cwd, 'file'), '');
  mkdirSync(join(cwd, 'folder'));
  writeFileSync(join(cwd, 'folder/v1'), '');
  mkdirSync(join(cwd, 'certs'));
  writeFileSync(join(cwd, 'certs/server.crt'), 'junk');
  const free = ['--http', `127.0.0.1:${spare}`];
  for (const [why, args, message] of [
    [
      'port in use',
      ['--http', `127.0.0.1:${taken}`, ...OFF],
      `the port is in use: .*choose another.*${taken}`,
    ],
    [
      'the same with one worker',
      ['--http', `127.0.0.1:${taken}`, '--workers', '1', ...OFF],
      'choose another',
    ],
    ['the admin port', [...free, '--admin', `127.0.0.1:${taken}`, '--https', 'off'], 'listen.admin .*in use'],
    ['an address of others', ['--http', `192.0.2.1:${spare}`, ...OFF], 'this machine does not have that'],
    ['a file for a folder', ['--data', 'file', ...free, ...OFF], 'storage.path .*file.*is not a folder'],
    ['a file on the way', ['--data', 'file/x/y', ...free, ...OFF], 'storage.path .*is not a folder'],
    ['a file within', ['--data', 'folder', ...free, ...OFF], 'storage.path .*choose another folder'],
    ['a path too long', ['--data', long, ...free, ...OFF], 'storage.path .*too long'],
    ['in use by an edge', ['--data', data, ...free, ...OFF], 'another edge runs .*a folder of its own'],
    [
      'junk for a certificate',
      [...free, '--admin', 'off', '--https', `127.0.0.1:${spare + 1}`],
      'server.crt',
    ],
  ] as const) {
    const { code, stderr } = await pierhead(['serve', ...args], cwd);
    t.equal(code, 1, why);
    t.match(stderr, new RegExp(`^pierhead: .*${message}`, 'm'), why);
    t.notMatch(stderr, /^ +at /m, `${why}: no stack`);
  }
  t.equal(readFileSync(join(cwd, 'certs/server.crt'), 'utf8'), 'junk', 'what was there is left as it was');
  t.equal(
    (await get(edge.http + blobPath)).bytes,
    image.layers[0]?.size,
    'the edge that runs is not disturbed',
  );
});

void t.test('check: what is right and what is not', async (t) => {
  const cwd = tempFolder(t, 'check');
  const listen = ['--http', `127.0.0.1:${spare}`, '--https', `127.0.0.1:${spare + 1}`, '--admin', 'off'];
  const good = await pierhead(['check', '--upstream', central.url, ...listen], cwd);
  t.equal(good.code, 0);
  t.match(good.stdout, /^ok +configuration +defaults, no file$/m);
  t.match(good.stdout, /^(?:ok|warn) +storage\.path +.*data: [\d.]+ \wiB free/m);
  t.match(good.stdout, /^ok +tls +no certificate yet: it is made on first start$/m);
  t.match(good.stdout, new RegExp(`^ok +listen\\.http +127\\.0\\.0\\.1:${spare}$`, 'm'));
  t.match(good.stdout, /^ok +listen\.admin +off$/m);
  t.match(good.stdout, /^ok +upstream docker\.io +http:\S+ answers$/m);
  t.notMatch(good.stdout, /^fail/m);

  const taken = await takenPort(t);
  writeFileSync(join(cwd, 'file'), '');
  mkdirSync(join(cwd, 'certs'));
  writeFileSync(join(cwd, 'certs/server.crt'), 'junk');
  const args = ['--upstream', 'http://127.0.0.1:1', '--data', 'file', '--https', `127.0.0.1:${spare}`];
  const bad = await pierhead(['check', ...args, '--http', `127.0.0.1:${taken}`, '--admin', 'off'], cwd);
  t.equal(bad.code, 1);
  t.match(bad.stdout, /^fail +storage\.path +.*file cannot be written .*: choose another folder/m);
  t.match(bad.stdout, /^fail +tls +.*server\.crt/m);
  t.match(bad.stdout, /^fail +listen\.http +.*: end the program that has it, or choose another port$/m);
  t.match(bad.stdout, /^warn +upstream docker\.io +.*ECONNREFUSED: the edge starts without it/m);

  const port = new URL(edge.http).port;
  const beside = ['check', '--data', data, '--http', `127.0.0.1:${port}`, ...OFF, '--upstream', central.url];
  const running = await pierhead(beside, cwd);
  t.equal(running.code, 0, 'an edge that runs there is no fault');
  t.match(running.stdout, /; an edge runs on it$/m);
  t.match(running.stdout, /^ok +listen\.http +.*taken, by the edge that runs$/m);
});

void t.test(
  'an upstream that is down at the start: it starts, and says that images cannot be had',
  async (t) => {
    await using lonely = await startEdge({ flags: ['--upstream', 'http://127.0.0.1:1'] });
    t.equal((await get(`${lonely.http}/v2/`)).status, 200);
    const answer = await get(`${lonely.http}/v2/library/app/manifests/latest`, { keepBody: true });
    t.equal(answer.status, 503);
    t.match(JSON.parse(answer.body.toString()), { errors: [{ code: 'UNAVAILABLE', detail: String }] });
  },
);

void t.test('SIGTERM lets running answers end: exit 0', async (t) => {
  let signalled = false;
  const answer = await get(edge.http + blobPath, {
    onData: async () => {
      if (signalled) return;
      signalled = true;
      edge.signal('SIGTERM');
      await eventually(async () => (await get(`${edge.admin}/readyz`)).status === 503);
    },
  });
  t.equal(`sha256:${answer.sha256}`, image.layers[0]?.digest);
  // Not at once: a second signal would cut the drain short.
  await eventually(() => !isRunning(edge.pid), { what: 'the edge has ended' });
  t.same(await edge.stop(), { code: 0, signal: null });
  await edge.restart();
});

void t.test('SIGINT twice: the end at once, of all processes', async (t) => {
  const client = await stalledClient();
  const pids = [...(await edge.rssOf()).keys()];
  t.equal(pids.length, 3);
  edge.signal('SIGINT');
  await eventually(async () => (await get(`${edge.admin}/readyz`)).status === 503);
  edge.signal('SIGINT');
  t.same(await edge.stop(), { code: 1, signal: null });
  await eventually(() => pids.every((pid) => !isRunning(pid)), { what: 'no worker is left' });
  client.destroy();
});

void t.test('after all of that the cache is as it was', async (t) => {
  await central.stop();
  await edge.restart();
  t.equal((await get(`${edge.http}/v2/library/app/manifests/latest`)).status, 200);
  for (const { digest } of image.blobs) {
    t.equal(`sha256:${(await get(`${edge.http}/v2/library/app/blobs/${digest}`)).sha256}`, digest);
  }
  const stats = await pierhead(['cache', 'stats', '--json', '--data', data], edge.dir);
  t.equal(stats.code, 0);
  t.match(JSON.parse(stats.stdout), { tags: 1, manifests: 1, objects: 3 });
});
