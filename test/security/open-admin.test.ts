import { readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config/load.ts';
import { HASH } from '../admin/fixture.ts';
import { pierhead } from '../cli/pierhead.ts';
import { get } from '../support/clients.ts';
import { freePorts } from '../support/free-port.ts';
import { startProcess, type RunningProcess } from '../support/processes.ts';
import { tempFolder } from '../support/temp.ts';

// Open admin interfaces and defaults: what can be reached by whom before anybody has configured anything, or after a mistake.
const MAIN = join(import.meta.dirname, '../../src/main.ts');
const UPSTREAMS = `upstreams: [{ name: central, url: 'http://127.0.0.1:9' }]`;
const EDGE = 'auth: { mode: edge, edge: { htpasswd: users } }';
const OPERATOR = 'roles: [{ role: operator, users: [ada] }]';

async function serve(folder: string, args: string[], ready: () => Promise<boolean>): Promise<RunningProcess> {
  return await startProcess(process.execPath, [MAIN, 'serve', '--workers', '2', ...args], {
    env: { ...process.env, NODE_OPTIONS: '' },
    cwd: folder,
    readyWithinMs: 30_000,
    ready,
  });
}

/** A port scan from within: what a process and those that it started listen on, by /proc. */
async function listening(root: number): Promise<string[]> {
  const parents = new Map<number, number>();
  for (const pid of (await readdir('/proc')).map(Number).filter((pid) => pid > 0)) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    parents.set(pid, Number(/^PPid:\s*(\d+)/m.exec(status)?.[1] ?? 0));
  }
  const tree = new Set([root]);
  for (let before = 0; before < tree.size;) {
    before = tree.size;
    for (const [pid, parent] of parents) if (tree.has(parent)) tree.add(pid);
  }
  const inodes = new Set<string>();
  for (const pid of tree)
    for (const fd of await readdir(`/proc/${pid}/fd`)) {
      const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      const [, inode] = /^socket:\[(\d+)\]$/.exec(link) ?? [];
      if (inode !== undefined) inodes.add(inode);
    }
  const found = new Set<string>();
  for (const table of ['tcp', 'tcp6', 'udp', 'udp6'])
    for (const line of (await readFile(`/proc/${root}/net/${table}`, 'utf8')).split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      const [address = '', port = ''] = local.split(':');
      const isOpen = table.startsWith('udp') || state === '0A';
      if (isOpen && inodes.has(inode)) found.add(`${table} ${address} ${parseInt(port, 16)}`);
    }
  return [...found].sort();
}

void t.test('an edge that nobody has configured: TLS for the network, all else for this host', async (t) => {
  const folder = tempFolder(t, 'defaults');
  const [https = 0, http = 0, admin = 0] = await freePorts(3);
  // Other ports than the defaults, on the addresses of the defaults.
  const ports = ['--https', String(https), '--http', String(http), '--admin', String(admin)];
  const edge = await serve(
    folder,
    ports,
    async () => (await get(`http://127.0.0.1:${admin}/readyz`)).status === 200,
  );
  t.teardown(() => edge.stop());
  t.same(
    await listening(edge.pid),
    [`tcp 00000000 ${https}`, `tcp 0100007F ${http}`, `tcp 0100007F ${admin}`].sort(),
    'addresses as /proc has them: 0.0.0.0 once, 127.0.0.1 twice',
  );
  const { access } = loadConfig({ flags: {}, env: {}, cwd: folder, cpus: 1 });
  t.ok(
    access.allow.every((network) => /^(127\.|::1|10\.|172\.16\.|192\.168\.|fc00::)/.test(network)),
    'and the TLS listener takes private networks only',
  );
  await edge.stop();
});

function load(t: Test, yaml: string) {
  const cwd = t.testdir({ 'pierhead.yaml': `${yaml}\n${UPSTREAMS}`, users: `ada:${HASH}\n` });
  return loadConfig({ file: 'pierhead.yaml', flags: {}, env: {}, cwd, cpus: 1 });
}

void t.test('beyond this host, where nobody could be an operator: refused, with what to do', async (t) => {
  const hosts = [
    '0.0.0.0',
    '10.0.0.1',
    '[::]',
    '[fd00::1]',
    'edge.corp',
    '128.0.0.1',
    '[::ffff:127.0.0.1]',
    'localhost.corp',
  ];
  for (const host of hosts) {
    const listen = (https: string) =>
      `listen: { admin: '${host}:5001', https: ${https}, http: '127.0.0.1:0' }`;
    const on = listen(`'0.0.0.0:5443'`);
    const off = listen('null');
    for (const [yaml, message] of [
      [on, 'auth.mode none knows nobody by name: set auth.mode: edge'],
      [`${on}\nauth: { mode: upstream }`, 'auth.mode upstream knows nobody by name'],
      [`${on}\n${EDGE}`, 'give somebody the role operator'],
      [`${on}\n${EDGE}\nroles: [{ role: publisher, users: [ada] }]`, 'give somebody the role operator'],
      [`${off}\n${EDGE}\n${OPERATOR}`, 'auth.allowPlain: true'],
    ] as const)
      t.throws(
        () => load(t, yaml),
        { message: new RegExp(`listen.admin: .*${message}.*127\\.0\\.0\\.1`) },
        `${host} ${message}`,
      );
    const plain = EDGE.replace('mode: edge', 'mode: edge, allowPlain: true');
    for (const yaml of [`${on}\n${EDGE}\n${OPERATOR}`, `${off}\n${plain}\n${OPERATOR}`])
      t.ok(load(t, yaml).listen.admin, yaml);
  }
  for (const host of ['127.0.0.1', '127.9.9.9', '[::1]', 'localhost'])
    t.ok(load(t, `listen: { admin: '${host}:5001' }`).listen.admin, host);
});

void t.test('beyond this host on a real edge: TLS, and nothing for who has no name', async (t) => {
  const folder = tempFolder(t, 'admin');
  const [https = 0, admin = 0] = await freePorts(2);
  const config = `listen: { https: '127.0.0.1:${https}', http: null, admin: '0.0.0.0:${admin}' }\n${UPSTREAMS}\n${EDGE}\n${OPERATOR}\n`;
  await writeFile(join(folder, 'pierhead.yaml'), config, { mode: 0o600 });
  await writeFile(join(folder, 'users'), `ada:${HASH}\n`, { mode: 0o600 });
  const url = `https://127.0.0.1:${admin}`;
  const trusting = async () => ({
    ca: await readFile(join(folder, 'certs/ca.crt')),
    servername: 'localhost',
  });
  const edge = await serve(
    folder,
    ['--config', 'pierhead.yaml'],
    async () => (await get(`${url}/readyz`, await trusting())).status === 200,
  );
  t.teardown(() => edge.stop());
  const trust = await trusting();
  for (const path of ['/metrics', '/', '/api/v1/images', '/api/v1/certificates'])
    t.equal((await get(url + path, trust)).status, 401, path);
  const purge = {
    ...trust,
    method: 'POST',
    body: '{"kind":"all"}',
    headers: { 'content-type': 'application/json' },
  };
  t.equal((await get(`${url}/api/v1/purge`, purge)).status, 401);
  await t.rejects(get(`http://127.0.0.1:${admin}/metrics`), 'plain HTTP gets nowhere');
  const health = await pierhead(['health', '--config', 'pierhead.yaml'], folder);
  t.match(health, { code: 0, stdout: `https://127.0.0.1:${admin}/readyz: ready` });
  t.match(edge.stderr, `admin  https://localhost:${admin}/metrics`);
  await writeFile(join(folder, 'pierhead.yaml'), config.replace(EDGE, '').replace(OPERATOR, ''), {
    mode: 0o600,
  });
  const reloaded = await pierhead(['reload', '--data', 'data'], folder);
  t.equal(reloaded.code, 1);
  t.match(reloaded.stderr, /listen.admin: .*auth.mode none/, 'nor does a reload open it');
  await edge.stop();
});
