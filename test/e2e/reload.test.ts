import { once } from 'node:events';
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import t from 'tap';
import { reloadsOf } from '../../src/admin/control-client.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { rotateCertificates } from '../../src/tls/rotation/rotate-certificates.ts';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import type { Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';
import { runProcess, type Finished } from '../support/processes.ts';
import { leavesNothing, pullAll, startBranch } from './branch.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
const RELOADS = 100;
const image = createImage({ layers: [300_000, 5000] });
const [layer] = image.layers;

void t.test('a hundred reloads with new certificates, while clients shake hands and ask', async (t) => {
  await using central = await startCentral();
  central.addImage('library/app', 'latest', image);
  await using edge = await startBranch(central, {
    workers: 2,
    config: { tls: { minVersion: 'TLSv1.3' }, freshness: { tag: '1h' }, access: { allow: ['127.0.0.0/8'] } },
  });
  await pullAll(edge.http, 'library/app', 'latest', image);
  const ca = await readFile(join(edge.dir, 'certs/ca.crt'), 'utf8');
  const url = `${edge.https}/v2/library/app/manifests/latest`;
  const done = new AbortController();
  let asked = 0;
  const client = async (path: string, digest: string | undefined): Promise<void> => {
    while (!done.signal.aborted) {
      const { status, complete, sha256 } = await get(`${edge.https}/v2/library/app/${path}`, { ca });
      if (status !== 200 || !complete || `sha256:${sha256}` !== digest) throw new Error(`answer ${status}`);
      asked += 1;
    }
  };
  const agent = new Agent({ ca, keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  t.equal(await ask(url, agent), false);
  const clients = [client('manifests/latest', image.digest), client(`blobs/${layer?.digest}`, layer?.digest)];
  const control = controlIn(edge);
  const seen = new Set<string>();
  for (let round = 0; round < RELOADS; round += 1) {
    const { fingerprint256 } = await rotate(edge);
    // Every second one as an operator would; the others by signal, as an init system does.
    if (round % 2 === 0) t.match(await control.reload(), { newCertificates: true, needRestart: [] });
    else {
      const before = await reloadsIn(edge, 'ok');
      edge.signal('SIGHUP');
      await eventually(async () => (await reloadsIn(edge, 'ok')) > before);
    }
    const served = await Promise.all([1, 2].map(() => fingerprintOf(edge, ca)));
    t.same(new Set(served), new Set([fingerprint256]), 'and nobody serves the old one');
    t.ok(await ask(url, agent), 'a connection that was open before all of them is still good');
    seen.add(fingerprint256);
  }
  t.equal(seen.size, RELOADS);
  await t.rejects(handshake(edge, { ca, maxVersion: 'TLSv1.2' }), {
    code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
  });
  done.abort();
  await Promise.all(clients);
  t.ok(asked >= RELOADS, `${asked} requests, each on a new connection`);
  t.equal(await reloadsIn(edge, 'failed'), 0);
  await leavesNothing(t, edge);
});

void t.test('a session ends with a reload, in every worker, also in one that comes later', async (t) => {
  await using central = await startCentral();
  await using edge = await startBranch(central, { workers: 2 });
  const ca = await readFile(join(edge.dir, 'certs/ca.crt'), 'utf8');
  const resumed = async (session: Buffer): Promise<boolean[]> =>
    await Promise.all(
      Array.from(
        { length: 8 },
        async () => (await handshake(edge, { ca, session, maxVersion: 'TLSv1.2' })).reused,
      ),
    );
  const first = await handshake(edge, { ca, maxVersion: 'TLSv1.2' });
  t.same(new Set(await resumed(first.session)), new Set([true]), 'whichever worker it reaches');
  await controlIn(edge).reload();
  t.same(new Set(await resumed(first.session)), new Set([false]));
  const second = await handshake(edge, { ca, maxVersion: 'TLSv1.2' });
  t.same(new Set(await resumed(second.session)), new Set([true]));

  // One after the other: while somebody listens, what comes later is given the keys of whoever listened first.
  for (const [at, pid] of (await workersOf(edge)).entries()) {
    process.kill(pid, 'SIGKILL');
    await eventually(async () => (await edge.metrics()).value('pierhead_worker_restarts_total') === at + 1);
    await eventually(async () => (await edge.metrics()).value('pierhead_workers') === 2);
  }
  t.same(new Set(await resumed(first.session)), new Set([false]), 'new workers take no older session');
  t.same(new Set(await resumed(second.session)), new Set([true]));
  await leavesNothing(t, edge);
});

void t.test('what a reload changes, and what it names for a restart', async (t) => {
  await using central = await startCentral();
  central.addImage('library/app', 'latest', image);
  const upstreams = [{ name: 'central', url: central.url, default: true }];
  await using edge = await startBranch(central, { workers: 2, config: { freshness: { tag: '1h' } } });
  const manifest = `${edge.http}/v2/library/app/manifests/latest`;
  await get(manifest);
  const kept = connectPlain(Number(new URL(edge.http).port), '127.0.0.1');
  const denied = connectPlain({ port: Number(new URL(edge.http).port), localAddress: '127.0.0.9' });
  await Promise.all([once(kept, 'connect'), once(denied, 'connect')]);
  t.teardown(() => kept.destroy());
  const gone = once(denied, 'close');

  await configure(edge, {
    upstreams: [...upstreams, { name: 'other', url: central.url }],
    access: { deny: ['127.0.0.9'] },
    storage: { maxSize: '1GiB' },
    freshness: { tag: '1ms' },
    log: { level: 'warn' },
  });
  const answer = await reload(edge);
  t.equal(answer.code, 0, answer.stderr);
  t.match(
    answer.stdout,
    /^Reloaded: storage\.maxSize, access\.deny, log\.level, upstreams\.central\.freshness\.$/m,
  );
  t.match(answer.stdout, /only a restart brings it into force: upstreams\./);
  await gone;
  t.equal(kept.destroyed, false, 'an open connection that may stay, stays');
  await t.rejects(get(manifest, { localAddress: '127.0.0.9' }), { code: /ECONNRESET|EPIPE/ });
  const metrics = await edge.metrics();
  t.equal(metrics.value('pierhead_storage_max_bytes'), 1024 ** 3);
  central.forget();
  await get(manifest);
  t.equal(central.requests('HEAD', 'manifest', 'latest'), 1, 'no tag is fresh for an hour any more');
  t.equal(
    (await get(`${edge.http}/v2/other/library/app/manifests/latest`)).status,
    404,
    'no such upstream yet',
  );
  await eventually(() => edge.logs().some(({ keys }) => String(keys) === 'upstreams'));

  for (const pid of await workersOf(edge)) process.kill(pid, 'SIGKILL');
  await eventually(async () => (await edge.metrics()).value('pierhead_worker_restarts_total') === 2);
  await eventually(async () => (await edge.metrics()).value('pierhead_workers') === 2);
  await t.rejects(
    get(manifest, { localAddress: '127.0.0.9' }),
    { code: /ECONNRESET|EPIPE/ },
    'so do new workers',
  );
  const lines = edge.logs().length;
  t.equal((await get(manifest)).status, 200);
  t.same(
    edge
      .logs()
      .slice(lines)
      .filter(({ msg }) => msg === 'request'),
    [],
    'and log no more than they are told',
  );
  await leavesNothing(t, edge);
});

void t.test('what cannot be used changes nothing, and is told', async (t) => {
  await using central = await startCentral();
  await using edge = await startBranch(central, { workers: 2 });
  const ca = await readFile(join(edge.dir, 'certs/ca.crt'), 'utf8');
  const first = await fingerprintOf(edge, ca);
  const state = async (): Promise<number> =>
    (await edge.metrics()).value('pierhead_config_last_reload_successful');
  t.equal(await state(), 1);
  const upstreams = [{ name: 'central', url: central.url, default: true }];
  const missing = { cert: 'gone.crt', key: 'gone.key' };
  for (const [config, message] of [
    [{ upstreams, access: { deny: ['127.0.0.1', 'nonsense'] } }, /access\.deny\[1\]: got "nonsense"/],
    [{ upstreams, access: { deny: ['127.0.0.1'] }, lgo: {} }, /lgo: is not a known key; did you mean log/],
    [
      { upstreams, access: { deny: ['127.0.0.1'] }, tls: { certificates: [missing] } },
      /tls\.certificates\[0\]: neither .*gone\.crt nor .*gone\.key is there/,
    ],
  ] as const) {
    await configure(edge, config);
    await t.rejects(controlIn(edge).reload(), { name: 'CommandRefused', message });
    t.equal(await state(), 0);
    t.equal(
      (await get(`${edge.https}/v2/`, { ca })).status,
      200,
      'the denial in the same file is not in force',
    );
  }
  t.equal(await reloadsIn(edge, 'failed'), 3);
  await eventually(
    () => edge.logs().filter(({ msg }) => String(msg).startsWith('not reloaded')).length === 3,
  );
  edge.signal('SIGHUP');
  await eventually(() => edge.output.includes('pierhead: not reloaded: '));
  const { code, stderr } = await reload(edge);
  t.equal(code, 1);
  t.match(stderr, /^pierhead: tls\.certificates\[0\]: neither/);
  t.notMatch(stderr, /^ +at /m, 'no stack');

  await configure(edge, { upstreams });
  await writeFile(join(edge.dir, 'certs/server.key'), 'torn');
  await t.rejects(controlIn(edge).reload(), { message: /server\.key holds no private key in PEM/ });
  t.equal(await fingerprintOf(edge, ca), first);
  await rename(join(edge.dir, 'certs/server.key'), join(edge.dir, 'torn.key'));
  await rename(join(edge.dir, 'certs/server.crt'), join(edge.dir, 'old.crt'));
  t.match(await controlIn(edge).reload(), { changed: [], needRestart: [], newCertificates: true });
  t.equal(await state(), 1);
  t.not(await fingerprintOf(edge, ca), first);
  await leavesNothing(t, edge);
});

void t.test('nobody to reload: exit 1, and where it was looked for', async (t) => {
  const cwd = t.testdir();
  const { code, stderr } = await runProcess(process.execPath, [MAIN, 'reload', '--data', 'nowhere'], { cwd });
  t.equal(code, 1);
  t.match(stderr, new RegExp(`^pierhead: no edge runs on ${join(cwd, 'nowhere')}: name its storage folder`));
});

function controlIn(edge: Edge): ReturnType<typeof reloadsOf> {
  return reloadsOf(join(edge.dir, 'data/v1/control.sock'));
}

async function configure(edge: Edge, config: object): Promise<void> {
  await writeFile(join(edge.dir, 'pierhead.yaml'), JSON.stringify(config), { mode: 0o600 });
}

/** As an operator who is not sure of the file: the edge is found by its folder. */
function reload(edge: Edge): Promise<Finished> {
  return runProcess(process.execPath, [MAIN, 'reload', '--data', join(edge.dir, 'data')], {
    env: { ...process.env, NODE_OPTIONS: '' },
  });
}

function rotate(edge: Edge): ReturnType<typeof rotateCertificates> {
  const [cert, key] = ['crt', 'key'].map((kind) => join(edge.dir, `certs/server.${kind}`));
  const files = { cert: cert ?? '', key: key ?? '' };
  return rotateCertificates({ ...files, names: ['localhost'], hostname: 'edge', clock: systemClock });
}

async function reloadsIn(edge: Edge, outcome: string): Promise<number> {
  return (await edge.metrics()).value('pierhead_reloads_total', { outcome });
}

async function workersOf(edge: Edge): Promise<number[]> {
  return [...(await edge.rssOf()).keys()].filter((pid) => pid !== edge.pid);
}

interface Shaken {
  readonly fingerprint256: string;
  readonly reused: boolean;
  readonly session: Buffer;
}

async function handshake(
  edge: Edge,
  options: { readonly ca: string; readonly session?: Buffer; readonly maxVersion?: 'TLSv1.2' },
): Promise<Shaken> {
  const { hostname: host, port } = new URL(edge.https);
  const socket: TLSSocket = connect({ host, port: Number(port), ...options });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  const shaken = {
    fingerprint256,
    reused: socket.isSessionReused(),
    session: socket.getSession() ?? Buffer.alloc(0),
  };
  socket.destroy();
  return shaken;
}

async function fingerprintOf(edge: Edge, ca: string): Promise<string> {
  return (await handshake(edge, { ca })).fingerprint256;
}

/** One request with a shared agent; true when its connection was used before. */
async function ask(url: string, agent: Agent): Promise<boolean> {
  const sent = request(url, { agent });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`answer ${response.statusCode}`);
  response.resume();
  await once(response, 'end');
  return sent.reusedSocket;
}
