import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { rootCertificates } from 'node:tls';
import t from 'tap';
import { loadConfig } from '../../src/config/load.ts';

const docs = resolve(import.meta.dirname, '../../docs');
const file = `${docs}/pierhead.example.yaml`;
const sources = { flags: {}, env: { DOCKER_HUB_TOKEN: 'from-env' }, cpus: 2 };

void t.test('the example file holds exactly the defaults', async (t) => {
  const { files, ...config } = loadConfig({ ...sources, file, cwd: '/' });
  t.strictSame(config, loadConfig({ ...sources, cwd: docs }));
  t.strictSame(files, [{ path: file, secret: false }]);
});

void t.test('the example file holds every setting that this version has', async (t) => {
  const cwd = t.testdir({
    'edge.yaml': readFileSync(file, 'utf8').replace(/^( *)#(?=\S| {2,}\S)/gm, '$1'),
    'corp-ca.crt': rootCertificates[0] ?? '',
    'corp-password': 'from-file\n',
    'site-secret': '0123456789abcdef0123456789abcdef\n',
    'redis-password': 'from-file\n',
    users: `ada:$2y$05$${'a'.repeat(53)}\n`,
  });
  const { upstreams, redis } = loadConfig({ ...sources, file: 'edge.yaml', cwd });
  t.match(redis, { mode: 'sentinel', name: 'pierhead', username: 'edge', tls: { ca: /BEGIN CERTIFICATE/ } });
  const [hub, corp] = upstreams;
  t.match(hub, { name: 'docker.io', credentials: { username: 'office', password: 'from-env' } });
  t.match(corp, {
    name: 'registry.corp:5000',
    urls: ['https://registry.corp:5000/mirror', 'https://standby.registry.corp:5000/mirror'],
    hosts: ['registry-cache.branch.corp:5443'],
    credentials: { username: 'edge', password: 'from-file' },
    authHosts: ['login.corp'],
    ca: /BEGIN CERTIFICATE/,
  });
});
