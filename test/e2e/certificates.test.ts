import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { once } from 'node:events';
import { connect } from 'node:tls';
import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import type { Edge } from '../support/edge.ts';
import { runProcess, type Finished } from '../support/processes.ts';
import { selfSigned } from '../support/self-signed.ts';
import { tempFolder } from '../support/temp.ts';
import { leavesNothing, startBranch } from './branch.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');

void t.test('the first start makes certificates, the second uses them again', async (t) => {
  await using central = await startCentral();
  await using edge = await startBranch(central, { workers: 2 });
  const files = ['ca.crt', 'ca.key', 'server.crt', 'server.key'];
  const contents = (): Promise<string[]> =>
    Promise.all(files.map((file) => readFile(join(edge.dir, 'certs', file), 'utf8')));
  const [ca = '', ...rest] = await contents();
  t.equal((await get(`${edge.https}/v2/`, { ca })).status, 200, 'clients that trust the CA are served');
  await t.rejects(get(`${edge.https}/v2/`), { code: /UNABLE_TO|SELF_SIGNED/ }, 'others do not trust it');
  await eventually(() => edge.output.includes('Clients trust this edge once they have its CA certificate'));

  const first = await fingerprintOf(edge, ca);
  await edge.restart();
  t.equal(await fingerprintOf(edge, ca), first);
  t.same(await contents(), [ca, ...rest]);
  t.notMatch(edge.output, /Clients trust this edge/, 'said once');

  const config = join(edge.dir, 'pierhead.yaml');
  const shown = await runProcess(process.execPath, [MAIN, 'certs', 'show', '--config', config]);
  t.equal(shown.code, 0, shown.stderr);
  t.match(shown.stdout, `SHA-256      ${first}`);
  t.match(shown.stdout, join(edge.dir, 'certs', 'ca.crt'));
  t.notMatch(shown.stdout, /PRIVATE/);
  await leavesNothing(t, edge);
});

void t.test('certs rotate: another key and certificate, served at once, by the same CA', async (t) => {
  await using central = await startCentral();
  await using edge = await startBranch(central, { workers: 2 });
  const ca = await readFile(join(edge.dir, 'certs/ca.crt'), 'utf8');
  const key = await readFile(join(edge.dir, 'certs/server.key'), 'utf8');
  const before = await fingerprintOf(edge, ca);
  const { code, stdout, stderr } = await pierhead(edge, 'certs', 'rotate', '--data', join(edge.dir, 'data'));
  t.equal(code, 0, stderr);
  const now = await fingerprintOf(edge, ca);
  t.not(now, before);
  t.match(stdout, new RegExp(`before  SHA-256 ${before}\\n  now     SHA-256 ${now}`));
  t.match(stdout, /server\.crt\n[^]*\(89 days left\)/);
  t.match(stdout, 'The edge that runs serves it from now on');
  t.notMatch(stdout, /PRIVATE|WARNING/);
  t.not(await readFile(join(edge.dir, 'certs/server.key'), 'utf8'), key);
  t.equal(await readFile(join(edge.dir, 'certs/ca.crt'), 'utf8'), ca);
  const metrics = await edge.metrics();
  const expiry = (name: string): number =>
    metrics.value('pierhead_certificate_expiry_timestamp_seconds', { name });
  t.equal(Math.round((expiry('server') - Date.now() / 1000) / 86_400), 90);
  t.equal(Math.round((expiry('ca') - Date.now() / 1000) / 86_400), 3650);

  const { port } = new URL(edge.https);
  const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', join(edge.dir, 'certs/ca.crt')];
  const client = await runProcess('openssl', [...args, '-verify_return_error', '-brief']);
  t.match(client.stderr, /Verification: OK/, 'OpenSSL takes it');
  await leavesNothing(t, edge);
  const again = await pierhead(edge, 'certs', 'rotate', '--data', join(edge.dir, 'data'));
  t.match(again, { code: 0, stdout: /No edge was found on .*within a minute, or at SIGHUP/ });
});

void t.test(
  'certs rotate --ca: prepared, clients that trust both go on; the former one is kept',
  async (t) => {
    await using central = await startCentral();
    await using edge = await startBranch(central, { workers: 2 });
    const file = (name: string): Promise<string> => readFile(join(edge.dir, 'certs', name), 'utf8');
    const former = await file('ca.crt');
    const data = ['--data', join(edge.dir, 'data')];
    const before = await fingerprintOf(edge, former);
    const prepared = await pierhead(edge, 'certs', 'rotate', '--ca', '--prepare', ...data);
    t.match(prepared, { code: 0, stdout: /nothing else has changed.*\n[^]*next-ca\.crt to every client/ });
    t.equal(await fingerprintOf(edge, former), before);
    const both = former + (await file('next-ca.crt'));
    t.equal((await get(`${edge.https}/v2/`, { ca: both })).status, 200);
    const rotated = await pierhead(edge, 'certs', 'rotate', '--ca', ...data);
    t.match(rotated, { code: 0, stdout: /WARNING: clients that were not given the prepared CA refuse/ });
    t.equal((await get(`${edge.https}/v2/`, { ca: both })).status, 200);
    await t.rejects(get(`${edge.https}/v2/`, { ca: former }), { code: /UNABLE_TO|SELF_SIGNED/ });
    const kept = /kept as (\S+\.crt)/.exec(rotated.stdout)?.[1] ?? '';
    t.equal(await readFile(kept, 'utf8'), former);
    t.match(await pierhead(edge, 'certs', 'rotate', '--prepare'), { code: 2, stderr: /goes with --ca/ });
    await leavesNothing(t, edge);
  },
);

void t.test('further certificates are served by name, and checked', async (t) => {
  await using central = await startCentral();
  const certs = tempFolder(t, 'certs');
  const corp = await selfSigned(certs, 'DNS:registry.corp,DNS:*.cache.corp');
  const keyFile = join(certs, 'self-signed.key');
  const config = { tls: { certificates: [{ cert: corp.certFile, key: keyFile }] } };
  await using edge = await startBranch(central, { workers: 2, config });
  const ca = await readFile(join(edge.dir, 'certs/ca.crt'), 'utf8');
  for (const servername of ['registry.corp', 'REGISTRY.corp', 'a.cache.corp'])
    t.equal((await get(`${edge.https}/v2/`, { ca: corp.cert, servername })).status, 200, servername);
  for (const servername of ['localhost', '\u0001', 'x'.repeat(250)])
    t.match(await fingerprintOf(edge, ca, servername), /^[0-9A-F:]{95}$/, 'the main one');
  const name = 'self-signed.crt';
  const metrics = await edge.metrics();
  t.equal(metrics.find('pierhead_certificate_expiry_timestamp_seconds', { name }).length, 1);

  const check = await pierhead(edge, 'check', '--data', join(edge.dir, 'data'));
  t.match(check.stdout, /^ok +tls .*server\.crt for .*89 days left$/m);
  t.match(check.stdout, /^ok +tls CA .*ca\.crt, 3649 days left$/m);
  t.match(check.stdout, /^warn +tls\.certificates\[0\] .*registry\.corp.* 0 days left: put a new one there/m);
  const shown = await pierhead(edge, 'certs', 'show');
  t.match(shown.stdout, /self-signed\.crt\n[^]*registry\.corp/);
  await leavesNothing(t, edge);

  await writeFile(keyFile, await readFile(join(edge.dir, 'certs/server.key'), 'utf8'));
  const refused = await pierhead(edge, 'check', '--data', join(edge.dir, 'data'));
  t.equal(refused.code, 1);
  t.match(refused.stdout, /^fail +tls .*self-signed\.key is not the key of/m);
});

void t.test("an operator's own certificate is not rotated, and said so", async (t) => {
  await using central = await startCentral();
  const own = await selfSigned(tempFolder(t, 'certs'), 'DNS:localhost,IP:127.0.0.1');
  const tls = { cert: own.certFile, key: own.certFile.replace(/crt$/, 'key') };
  await using edge = await startBranch(central, { workers: 1, config: { tls } });
  const { code, stderr } = await pierhead(edge, 'certs', 'rotate', '--data', join(edge.dir, 'data'));
  t.equal(code, 1);
  t.match(
    stderr,
    /^pierhead: .*was not made by the local CA beside it, so it is not replaced: put a new pair/,
  );
  t.equal((await get(`${edge.https}/v2/`, { ca: own.cert })).status, 200);
  t.ok(
    edge.logs().some(({ msg }) => /self-signed\.crt expires in 0 days/.test(String(msg))),
    'but its end is told',
  );
  await leavesNothing(t, edge);
});

/** With the edge's own configuration. */
function pierhead(edge: Edge, ...args: string[]): Promise<Finished> {
  return runProcess(process.execPath, [MAIN, ...args, '--config', join(edge.dir, 'pierhead.yaml')], {
    env: { ...process.env, NODE_OPTIONS: '' },
  });
}

async function fingerprintOf({ https }: Edge, ca: string, servername?: string): Promise<string> {
  const { hostname: host, port } = new URL(https);
  const socket = connect({
    host,
    port: Number(port),
    ca,
    ...(servername !== undefined && { servername, checkServerIdentity: () => undefined }),
  });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}
