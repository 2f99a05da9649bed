import t, { type Test } from 'tap';
import type { Flags } from '../../src/config/flags.ts';
import { loadConfig, type ConfigSources } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';

const SOURCES: ConfigSources = { flags: {}, env: {}, cwd: '/edge', cpus: 2 };

function failure(sources: Partial<ConfigSources>): ConfigError {
  try {
    loadConfig({ ...SOURCES, ...sources });
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const withFlags = (flags: Flags) => loadConfig({ ...SOURCES, flags });
const inFile = (t: Test, yaml: string): Partial<ConfigSources> => ({
  file: 'edge.yaml',
  cwd: t.testdir({ 'edge.yaml': yaml }),
});

void t.test('without a file the defaults apply, and no file is looked for', async (t) => {
  const cwd = t.testdir({ 'pierhead.yaml': 'workers: 9', 'config.yaml': 'workers: 9' });
  t.strictSame(loadConfig({ ...SOURCES, cwd }), {
    listen: {
      https: { host: '0.0.0.0', port: 5443 },
      http: { host: '127.0.0.1', port: 5000 },
      admin: { host: '127.0.0.1', port: 5001 },
    },
    tls: {
      cert: `${cwd}/certs/server.crt`,
      key: `${cwd}/certs/server.key`,
      minVersion: 'TLSv1.2',
      names: ['localhost'],
      autoRotate: true,
      certificates: [],
    },
    workers: 2,
    storage: { path: `${cwd}/data`, maxSize: 53_687_091_200, highWatermark: 0.85 },
    redis: null,
    upstreams: [
      {
        name: 'docker.io',
        urls: ['https://registry-1.docker.io'],
        hosts: [],
        default: true,
        authHosts: ['auth.docker.io'],
        freshness: {
          tag: 60_000,
          deadline: 1000,
          staleIfError: 2_592_000_000,
          negative: 15_000,
          verdict: 60_000,
          verdictGrace: 0,
        },
        push: false,
      },
    ],
    access: {
      allow: ['127.0.0.0/8', '::1', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
      deny: [],
      listeners: {},
      trustedProxies: [],
      proxyProtocol: false,
      forbiddenNames: [],
    },
    limits: {
      requestsPerSecond: 1000,
      burst: 10_000,
      connectionsPerAddress: 1024,
      connections: 4096,
      minRate: 8192,
      fillsPerCaller: 256,
      unknownPerSecond: 10,
    },
    auth: { mode: 'none' },
    roles: [],
    audit: { to: null },
    warm: [],
    log: { level: 'info' },
  });
});

void t.test('a configuration survives the way to a worker process', async (t) => {
  const config = loadConfig(SOURCES);
  t.strictSame(JSON.parse(JSON.stringify(config)), config);
});

void t.test('a file that is named must be there', async (t) => {
  const cwd = t.testdir({ folder: {} });
  t.strictSame(failure({ cwd, file: 'gone.yaml' }).problems, [
    { key: '--config', message: `${cwd}/gone.yaml does not exist` },
  ]);
  t.strictSame(failure({ cwd, file: 'folder' }).problems, [
    { key: '--config', message: `${cwd}/folder is a folder` },
  ]);
});

void t.test(
  "paths start from the file's folder, and those of flags from the working directory",
  async (t) => {
    const cwd = t.testdir({ etc: { 'edge.yaml': 'storage: { path: cache }' } });
    const sources = { ...SOURCES, cwd, file: 'etc/edge.yaml' };
    t.equal(loadConfig(sources).storage.path, `${cwd}/etc/cache`);
    t.equal(loadConfig(sources).tls.key, `${cwd}/etc/certs/server.key`);
    t.equal(loadConfig({ ...sources, flags: { data: 'cache' } }).storage.path, `${cwd}/cache`);
  },
);

void t.test('flags win over the file', async (t) => {
  const yaml = `listen: { https: '0.0.0.0:1', http: '127.0.0.1:2', admin: '127.0.0.1:3' }
workers: 1
log: { level: warn }
storage: { path: a, maxSize: 1GiB }`;
  const flags = { https: 'off', http: '[::1]:7', admin: '8', workers: 'auto', logLevel: 'debug', data: '/b' };
  t.match(loadConfig({ ...SOURCES, ...inFile(t, yaml), flags }), {
    listen: { https: null, http: { host: '::1', port: 7 }, admin: { host: '127.0.0.1', port: 8 } },
    workers: 2,
    log: { level: 'debug' },
    storage: { path: '/b', maxSize: 1024 ** 3 },
  });
});

void t.test('the forms of a listener flag', async (t) => {
  t.strictSame(withFlags({ http: ':7' }).listen.http, { host: '0.0.0.0', port: 7 });
  t.strictSame(withFlags({ http: 'edge:7' }).listen.http, { host: 'edge', port: 7 });
  t.strictSame(withFlags({ http: '0' }).listen.http, { host: '127.0.0.1', port: 0 });
  t.strictSame(withFlags({ https: '7' }).listen.https, { host: '0.0.0.0', port: 7 });
  t.strictSame(withFlags({ admin: 'off' }).listen.admin, null);

  // A bare port keeps the host that the file gave the listener.
  const yaml = `listen: { admin: '127.0.0.2:5001', http: null }`;
  const sources = { ...SOURCES, ...inFile(t, yaml) };
  t.strictSame(loadConfig({ ...sources, flags: { admin: '9' } }).listen.admin, {
    host: '127.0.0.2',
    port: 9,
  });
  t.strictSame(loadConfig({ ...sources, flags: { http: '9' } }).listen.http, { host: '127.0.0.1', port: 9 });
});

void t.test('a flag is named as it was typed, together with what is wrong in the file', async (t) => {
  const flags = {
    upstream: 'central',
    data: '',
    http: 'x',
    https: '70000',
    admin: '::1:5',
    workers: '0',
    logLevel: 'loud',
    redis: 'redis://ada:secret@a',
  };
  const { problems } = failure({ ...inFile(t, 'workers: none'), flags });
  t.match(problems, [
    { key: 'workers', message: /^got "none"/ },
    { key: '--upstream', message: /^got "central"; takes an http/ },
    { key: '--data', message: 'got ""; takes a path' },
    { key: '--https', message: /^got "70000"; .*, or off$/ },
    { key: '--http', message: /^got "x"; / },
    { key: '--admin', message: /^got "::1:5"; / },
    { key: '--redis', message: /^got "redis:\/\/\*\*\*@a"; takes redis:.*, or off$/ },
    { key: '--workers', message: /^got "0"; takes auto/ },
    { key: '--log-level', message: /^got "loud"; takes one of trace/ },
  ]);
  t.equal(problems.length, 9);
  t.match(withFlags({ redis: 'off' }), { workers: 2 });
});

void t.test('listeners are checked together, flags included', async (t) => {
  const keysOf = (sources: Partial<ConfigSources>) => failure(sources).problems.map(({ key }) => key);
  t.strictSame(keysOf({ flags: { http: 'off', https: 'off' } }), ['listen']);
  t.strictSame(keysOf(inFile(t, 'listen: { http: null, https: null }')), ['listen']);
  t.strictSame(keysOf({ flags: { http: '5001' } }), ['listen.admin']);
  t.strictSame(keysOf({ flags: { admin: '127.0.0.1:5443' } }), ['--admin']);
  t.strictSame(keysOf(inFile(t, "listen: { http: '127.0.0.1:5443' }\nworkers: none")), [
    'workers',
    'listen.http',
  ]);
  t.match(failure({ flags: { admin: '5000' } }).problems[0]?.message, 'another port than listen.http');

  t.match(withFlags({ http: '0', https: ':0', admin: '0' }).listen, { http: { port: 0 } });
  const fixed = { ...SOURCES, ...inFile(t, "listen: { http: '0.0.0.0:5443' }") };
  t.match(loadConfig({ ...fixed, flags: { https: 'off' } }).listen, { http: { port: 5443 } });
  // Nothing is said about the listeners of a file that cannot be read.
  t.strictSame(keysOf({ ...inFile(t, 'a: ['), flags: { http: 'off', https: 'off' } }).length, 1);
});

void t.test('the message is a line a problem, after the file', async (t) => {
  t.equal(
    failure({ ...inFile(t, 'workers: none\nlog: { level: loud }') }).message,
    `The configuration in edge.yaml has 2 problems:
  workers: got "none"; takes auto, or a whole number from 1 to 64
  log.level: got "loud"; takes one of trace, debug, info, warn, error, fatal, silent`,
  );
  t.match(failure({ flags: { workers: '0' } }).message, /^The configuration has 1 problem:\n {2}--workers: /);
  t.notMatch(failure({ file: 'a\u001b[2J.yaml' }).message, '\u001b');
});
