import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { guessAddress, type AddressFacts } from '../../src/client-files/edge-address.ts';
import { registriesOf, viewEdge, type ViewOptions } from '../../src/client-files/edge-view.ts';
import { DEFAULT_FRESHNESS } from '../../src/config/defaults.ts';
import type { Config, ListenConfig, UpstreamConfig } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { ensureCertificates } from '../../src/tls/ensure-certificates.ts';
import { selfSigned } from '../support/self-signed.ts';
import { tempFolder } from '../support/temp.ts';

const OPTIONS: ViewOptions = { plain: false, hostname: 'node-7' };

function configIn(folder: string, names: readonly string[], listen: Partial<ListenConfig> = {}): Config {
  const config = loadConfig({ flags: {}, env: {}, cwd: folder, cpus: 1 });
  return { ...config, tls: { ...config.tls, names }, listen: { ...config.listen, ...listen } };
}

async function certified(t: Test, names: readonly string[], listen?: Partial<ListenConfig>): Promise<Config> {
  const config = configIn(tempFolder(t), names, listen);
  await ensureCertificates({ ...config.tls, hostname: 'node-7', clock: systemClock });
  return config;
}

function guess(more: Partial<AddressFacts>): { host: string; warning?: string } {
  const listener = { host: '0.0.0.0', port: 5443 };
  return guessAddress({
    key: 'listen.https',
    listener,
    names: ['localhost'],
    hostname: 'node-7',
    covered: () => true,
    ...more,
  });
}

void t.test('the first name that means more than this machine', (t) => {
  t.same(guess({ names: ['localhost', '127.0.0.1', '*.corp', 'edge.example', 'other'] }), {
    host: 'edge.example',
    port: 5443,
  });
  t.same(guess({ names: ['fd00::1'] }), { host: 'fd00::1', port: 5443 });
  t.match(guess({ listener: { host: '10.0.0.5', port: 5443 } }), { host: '10.0.0.5', warning: undefined });
  t.match(guess({}), { host: 'node-7', warning: /this machine's own is taken: node-7.*--host/ });
  t.match(guess({ covered: (name) => name === 'localhost' }), {
    host: 'localhost',
    warning: /on this machine only.*tls\.names.*--host/,
  });
  for (const hostname of ['localhost', 'not a name', ''])
    t.match(guess({ hostname }), { host: 'localhost', warning: /this machine only/ }, hostname);
  t.match(guess({ names: ['edge.example'], listener: { host: '127.0.0.1', port: 5443 } }), {
    host: '127.0.0.1',
    warning: 'listen.https is 127.0.0.1:5443: only clients on this machine reach it',
  });
  t.match(guess({ listener: { host: '::1', port: 5443 } }), { host: '::1', warning: String });
  t.end();
});

void t.test('the certificate of the local CA, and nothing else of what is in its file', async (t) => {
  const config = await certified(t, ['localhost', 'edge.example']);
  const file = join(config.tls.cert, '../ca.crt');
  const ca = await readFile(file, 'utf8');
  await writeFile(file, ca + (await readFile(join(config.tls.cert, '../ca.key'), 'utf8')));
  const { edge, warnings } = await viewEdge(config, OPTIONS);
  t.same(warnings, []);
  t.match(edge, { scheme: 'https', address: 'edge.example:5443', loopback: false, ca });
  t.notMatch(edge.ca, 'PRIVATE');
});

void t.test('a name or a port that was given', async (t) => {
  const config = await certified(t, ['edge.example', '10.0.0.5', 'fd00::1']);
  const addressOf = async (host: string, port?: number) =>
    (await viewEdge(config, { ...OPTIONS, host: { host, port } })).edge.address;
  t.equal(await addressOf('10.0.0.5'), '10.0.0.5:5443');
  t.equal(await addressOf('fd00::1', 443), '[fd00::1]:443');
  const { edge, warnings } = await viewEdge(config, { ...OPTIONS, host: { host: 'stranger', port: 1 } });
  t.equal(edge.address, 'stranger:1');
  t.match(warnings, [/not valid for stranger, .* add the name to tls\.names/]);
  const near = await viewEdge(config, { ...OPTIONS, host: { host: 'localhost', port: undefined } });
  t.match(near, { edge: { loopback: true }, warnings: [/each client's own machine/] });
});

void t.test('hosts of upstreams have to be in the certificate too', async (t) => {
  const config = await certified(t, ['edge.example']);
  const [upstream] = config.upstreams;
  const upstreams =
    upstream === undefined ? [] : [{ ...upstream, hosts: ['hub.edge.example:5443', '[fd00::1]'] }];
  const { warnings } = await viewEdge({ ...config, upstreams }, OPTIONS);
  t.match(warnings, [/not valid for hub\.edge\.example,/, /not valid for fd00::1,/]);
});

void t.test('the plain listener needs no certificate', async (t) => {
  const config = configIn(tempFolder(t), ['edge.example'], {
    http: { host: '0.0.0.0', port: 5000 },
    https: null,
  });
  const { edge, warnings } = await viewEdge(config, { ...OPTIONS, plain: true });
  t.match(edge, { scheme: 'http', address: 'edge.example:5000', ca: undefined });
  t.same(warnings, []);
});

void t.test('what cannot be: a listener that is off, a port that changes, no certificate', async (t) => {
  const folder = tempFolder(t);
  const view = (listen: Partial<ListenConfig>, plain = false) =>
    viewEdge(configIn(folder, ['edge.example'], listen), { ...OPTIONS, plain });
  await t.rejects(view({ https: null }), { message: /listen\.https is off.*--plain/ });
  await t.rejects(view({ http: null }, true), { message: /listen\.http is off.*leave --plain out/ });
  await t.rejects(view({ http: { host: '0.0.0.0', port: 0 } }, true), {
    message: /port 0.*--host NAME:PORT/,
  });
  await t.rejects(view({}), {
    name: 'CertificateError',
    message: /server\.crt is not there yet: run "pierhead certs init" or start the edge once/,
  });
  const elsewhere = { ...OPTIONS, ca: 'PEM' };
  t.match(await viewEdge(configIn(folder, ['edge.example']), elsewhere), {
    edge: { ca: 'PEM' },
    warnings: [],
  });
});

void t.test('a certificate from elsewhere: no CA of ours, or the one that was named', async (t) => {
  const config = configIn(tempFolder(t), ['edge.example']);
  await mkdir(join(config.tls.cert, '..'));
  const { cert } = await selfSigned(tempFolder(t), 'DNS:edge.example');
  await writeFile(config.tls.cert, cert);
  const other = await certified(t, ['edge.example']);
  await writeFile(join(config.tls.cert, '../ca.crt'), await readFile(join(other.tls.cert, '../ca.crt')));
  const { edge, warnings } = await viewEdge(config, OPTIONS);
  t.equal(edge.ca, undefined, 'the CA beside it did not issue it');
  t.match(warnings, [/is not from the local CA: .*--ca FILE/]);
  t.match(await viewEdge(config, { ...OPTIONS, ca: 'PEM' }), { edge: { ca: 'PEM' }, warnings: [] });
});

void t.test('what clients call a registry, and where they go without the edge', (t) => {
  const upstream = (name: string, url: string): UpstreamConfig => ({
    name,
    urls: [url],
    hosts: [],
    default: false,
    authHosts: [],
    freshness: DEFAULT_FRESHNESS,
    push: false,
  });
  const seen = registriesOf([
    upstream('docker.io', 'http://central.corp'),
    upstream('ghcr.io', 'https://ghcr.io'),
    upstream('registry.corp:5000', 'http://registry.corp:5000/mirror'),
    upstream('central', 'https://central.corp:8443'),
    upstream('again', 'https://ghcr.io'),
    upstream('team', 'https://quay.io/team'),
    upstream('registry-1.docker.io', 'https://registry-1.docker.io'),
    upstream('localhost', 'http://127.0.0.1:5000'),
  ]).map(({ upstream, registry, origin }) => [upstream, registry, origin]);
  t.same(seen, [
    ['docker.io', 'docker.io', 'https://registry-1.docker.io'],
    ['ghcr.io', 'ghcr.io', 'https://ghcr.io'],
    ['registry.corp:5000', 'registry.corp:5000', 'http://registry.corp:5000'],
    ['central', 'central.corp:8443', 'https://central.corp:8443'],
    ['again', undefined, 'https://ghcr.io'],
    ['team', undefined, 'https://quay.io'],
    ['registry-1.docker.io', undefined, 'https://registry-1.docker.io'],
    ['localhost', 'localhost', 'https://localhost'],
  ]);
  const [hub] = registriesOf([upstream('registry-1.docker.io', 'https://registry-1.docker.io')]);
  t.equal(hub?.registry, 'docker.io', 'clients know no other name of it');
  t.end();
});
