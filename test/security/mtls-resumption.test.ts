import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { basic, bearer, htpasswd, reloadWith, tokenIn } from '../support/edge-auth.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';
import { TempFolder } from '../support/temp.ts';
import { TestAuthority, type ClientPair } from '../tls/clients/authority.ts';

const image = createImage({ layers: [40_000_000] });
const BLOB = `/v2/library/app/blobs/${image.layers[0]?.digest}`;
const folder = new TempFolder('edge');
t.teardown(() => folder.remove());
const central = await startCentral();
t.teardown(() => central.stop());
central.addImage('library/app', 'latest', image);
const authority = await TestAuthority.create(folder.join('ca'));
const [ada, bob] = [await authority.issue('/CN=ada'), await authority.issue('/CN=bob')];
const server = await authority.issue('/CN=server', ['extendedKeyUsage=serverAuth']);
await authority.writeRevocations();
await writeFile(folder.join('clients.crl'), await authority.crl(), { mode: 0o600 });
await writeFile(folder.join('users'), await htpasswd({ eve: 'right' }), { mode: 0o600 });
const config = (edge: object): object => ({
  upstreams: [{ name: 'central', url: central.url, default: true }],
  auth: { mode: 'edge', edge: { htpasswd: 'users', ...edge } },
});
const clientCertificate = { ca: authority.caFile, crl: 'clients.crl' };
const edge = await startEdge({ dir: folder.path, workers: 2, config: config({}), readyWithinMs: 60_000 });
t.teardown(() => edge.stop());
const ca = await readFile(folder.join('certs/ca.crt'), 'utf8');

const ask = (path: string, pair?: ClientPair, headers: Record<string, string> = {}) =>
  get(`${edge.https}${path}`, { ca, keepBody: true, headers, ...pair });
/** A connection that stays open, and one request on it. */
async function open(options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(edge.https).port), ca, ...options });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  return socket;
}

async function statusOf(socket: TLSSocket, path = '/v2/'): Promise<number> {
  socket.write(`GET ${path} HTTP/1.1\r\nHost: edge\r\n\r\n`);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  return Number(/^HTTP\/1\.1 (\d+)/.exec(chunk.toString('latin1'))?.[1]);
}

void t.test('certificates count from the reload that names their CA', async (t) => {
  t.equal((await ask('/v2/', ada)).status, 401);
  await reloadWith(edge, 'pierhead.yaml', JSON.stringify(config({ clientCertificate })));
  for (const pair of [ada, bob]) t.equal((await ask('/v2/', pair)).status, 200);
  t.equal((await ask('/v2/')).status, 401, 'nobody has to show one');
  t.equal((await ask('/v2/', server)).status, 401, 'one for servers is none for clients');
  const stranger = await TestAuthority.create(folder.join('stranger'), 'Test CA');
  t.equal((await ask('/v2/', await stranger.issue('/CN=ada'))).status, 401, 'of a CA of the same name');
  t.equal((await ask('/v2/', ada, { authorization: 'Basic Og==' })).status, 200, 'nothing besides');
  t.equal((await ask('/v2/', ada, basic('eve', 'right'))).status, 200);
  t.equal(
    (await ask('/v2/', ada, basic('eve', 'wrong'))).status,
    401,
    'a wrong password is wrong all the same',
  );
  const users = edge.logs().flatMap(({ user }) => (typeof user === 'string' ? [user] : []));
  t.same(new Set(users), new Set(['ada', 'bob', 'eve']));
});

void t.test('no session goes on in another connection', async (t) => {
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = await open({ cert: ada.cert, key: ada.key, maxVersion });
    let ticket = first.getSession();
    first.on('session', (given) => {
      ticket = Buffer.from(given);
    });
    t.equal(await statusOf(first), 200);
    first.destroy();
    const again = await open({ ...(ticket && { session: ticket }), maxVersion });
    t.notOk(again.isSessionReused(), maxVersion);
    t.equal(await statusOf(again), 401, 'and without its certificate the client is nobody');
    again.destroy();
  }
});

void t.test(
  'a revocation holds from the reload on: for new, open and busy connections, and for tokens',
  async (t) => {
    await ask(BLOB, bob);
    const token = tokenIn(await ask('/auth/token?scope=repository:library/app:pull', bob));
    t.equal((await ask(BLOB, bob, bearer(token))).status, 200);
    t.equal(
      (await ask(BLOB, undefined, bearer(token))).status,
      401,
      'it is of no use without its certificate',
    );
    t.equal((await ask(BLOB, ada, bearer(token))).status, 401, 'nor with another');
    const idle = await open({ cert: bob.cert, key: bob.key });
    t.equal(await statusOf(idle), 200);
    const adas = await open({ cert: ada.cert, key: ada.key });
    t.equal(await statusOf(adas), 200);
    const begun = Promise.withResolvers<void>();
    const busy = get(`${edge.https}${BLOB}`, {
      ca,
      ...bob,
      readRateBytesPerSecond: 1_000_000,
      onData: () => begun.resolve(),
    });
    await begun.promise;
    await authority.revoke(bob);
    await authority.writeRevocations();
    const closed = once(idle, 'close');
    await reloadWith(edge, 'clients.crl', await authority.crl());
    await closed;
    t.notOk((await busy).complete, 'a download of his is cut');
    for (let at = 0; at < 4; at += 1) t.equal((await ask('/v2/', bob)).status, 401);
    t.equal((await ask(BLOB, bob, bearer(token))).status, 401);
    t.equal(await statusOf(adas), 200, 'nobody else notices');
    adas.destroy();
  },
);

void t.test('a list that is out of date lets nobody in by certificate, and says so', async (t) => {
  await authority.writeRevocations(1);
  const list = await authority.crl();
  await eventually(() => Date.now() % 1000 < 500);
  await reloadWith(edge, 'clients.crl', list);
  await eventually(async () => (await ask('/v2/', ada)).status === 401);
  t.equal((await ask('/v2/', ada, basic('eve', 'right'))).status, 200);
  await reloadWith(edge, 'clients.crl', list);
  t.match(edge.output, 'auth.edge.clientCertificate.crl is out of date since');
  await t.rejects(reloadWith(edge, 'clients.crl', 'nonsense'));
});

void t.test('a CA that is taken out ends the connections of its clients', async (t) => {
  await authority.writeRevocations();
  await reloadWith(edge, 'clients.crl', await authority.crl());
  const socket = await open({ cert: ada.cert, key: ada.key });
  t.equal(await statusOf(socket), 200);
  const another = await TestAuthority.create(folder.join('another'), 'Another CA');
  const closed = once(socket, 'close');
  await reloadWith(
    edge,
    'pierhead.yaml',
    JSON.stringify(config({ clientCertificate: { ca: another.caFile } })),
  );
  await closed;
  t.equal((await ask('/v2/', ada)).status, 401);
  t.equal((await ask('/v2/', await another.issue('/CN=ada'))).status, 200);
});
