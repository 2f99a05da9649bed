import { dirname } from 'node:path';
import t, { type Test } from 'tap';
import { DEFAULT_LIMITS } from '../../src/config/defaults.ts';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError, type Problem } from '../../src/config/problem.ts';

function load(t: Test, yaml: string, cpus = 2) {
  return loadConfig({ file: 'edge.yaml', flags: {}, env: {}, cwd: t.testdir({ 'edge.yaml': yaml }), cpus });
}

function problemsIn(t: Test, yaml: string): readonly Problem[] {
  try {
    load(t, yaml);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

void t.test('every value names its key, what it got and what it takes', async (t) => {
  const cases: [yaml: string, key: string, message: string | RegExp][] = [
    ['listen: { http: localhost }', 'listen.http', /^got "localhost"; takes HOST:PORT, .*null/],
    ['listen: { https: 65536 }', 'listen.https', /^got 65536; takes HOST:PORT/],
    ['listen: 5', 'listen', 'got a number; takes a map with the keys https, http, admin'],
    ['tls: { minVersion: TLSv1.1 }', 'tls.minVersion', 'got "TLSv1.1"; takes one of TLSv1.2, TLSv1.3'],
    ['tls: { names: [] }', 'tls.names', /at least one/],
    ['tls: { names: [ok, a b] }', 'tls.names[1]', /^got "a b"; takes a DNS name/],
    ['tls: { cert: "" }', 'tls.cert', 'got ""; takes a path'],
    ['tls: { autoRotate: sometimes }', 'tls.autoRotate', /^got "sometimes"; takes true or false/],
    ['tls: { certificates: a.crt }', 'tls.certificates', /^got "a.crt"; takes a list: further pairs/],
    ['tls: { certificates: [{ cert: a.crt }] }', 'tls.certificates[0].key', 'is missing; takes a path'],
    [
      `tls: { certificates: [${'{ cert: a, key: b }, '.repeat(101)}] }`,
      'tls.certificates',
      'is too long; takes at most 100 pairs',
    ],
    ['workers: 0', 'workers', 'got 0; takes auto, or a whole number from 1 to 64'],
    ['workers: 65', 'workers', /^got 65/],
    ['workers: 1.5', 'workers', /^got 1.5/],
    ['workers:', 'workers', ''],
    ['storage: { path: 3 }', 'storage.path', 'got 3; takes a path'],
    ['storage: { maxSize: 1023KiB }', 'storage.maxSize', /^got "1023KiB"; takes a size .*at least 1MiB/],
    ['storage: { maxSize: 50 GiB }', 'storage.maxSize', /^got "50 GiB"/],
    ['storage: { highWatermark: 1 }', 'storage.highWatermark', /^got 1; takes a number from 0.1 to 0.99/],
    ['storage: { highWatermark: 0.05 }', 'storage.highWatermark', /^got 0.05/],
    ['storage: { highWatermark: .nan }', 'storage.highWatermark', /^got NaN/],
    ['freshness: { tag: 60 }', 'freshness.tag', /^got 60; takes a duration with its unit/],
    ['freshness: { deadline: 61m }', 'freshness.deadline', /^got "61m"; .*at most 1h/],
    ['freshness: { staleIfError: null }', 'freshness.staleIfError', /^got null; takes a duration/],
    ['access: { allow: 10.0.0.0/8 }', 'access.allow', /^got "10.0.0.0\/8"; takes a list/],
    ['access: { deny: [10.0.0.256] }', 'access.deny[0]', /^got "10.0.0.256"; takes an IP address/],
    ['log: { level: verbose }', 'log.level', /^got "verbose"; takes one of trace, debug/],
    ['- a', 'FILE', /^got a list; takes a map with the keys listen, tls, /],
    ['"\\e[2J"', 'FILE', /^got a text/],
    ['log: { level: "\\e[2J\\x9b" }', 'log.level', /^got "\\u001b\[2J\\u009b"/],
  ];
  for (const [yaml, key, message] of cases) {
    const problems = problemsIn(t, yaml);
    if (message === '') t.strictSame(problems, [], yaml);
    else t.match(problems, [{ key: key === 'FILE' ? /edge\.yaml$/ : key, message }], yaml);
    t.ok(problems.length <= 1, 'and nothing else');
  }
});

void t.test('a key that is not known is an error, with the one that was meant', async (t) => {
  const cases: [yaml: string, key: string, message: string][] = [
    ['lisen: {}', 'lisen', 'did you mean listen?'],
    ['storage: { maxsize: 1GiB }', 'storage.maxsize', 'did you mean maxSize?'],
    ['freshness: { stalIfErorr: 1s }', 'freshness.stalIfErorr', 'did you mean staleIfError?'],
    ['log: { colour: true }', 'log.colour', 'takes level'],
    ['upstreams: [{ name: a, url: "https://a", ulr: b }]', 'upstreams[0].ulr', 'did you mean url?'],
    ['"a b": 1', '["a b"]', 'takes listen, tls, workers'],
    ['"\\e": 1', '["\\u001b"]', 'takes listen'],
    ['__proto__: 1', '__proto__', 'takes listen'],
    ['constructor: 1', 'constructor', 'takes listen'],
    ['tls: { __proto__: { cert: a } }', 'tls.__proto__', 'takes cert'],
  ];
  for (const [yaml, key, message] of cases) {
    const problems = problemsIn(t, yaml);
    t.equal(problems.length, 1, yaml);
    t.equal(problems[0]?.key, key);
    t.match(problems[0]?.message, `is not a known key; ${message}`);
  }
});

void t.test('all problems of a file are told at once', async (t) => {
  const problems = problemsIn(
    t,
    `
listen: { http: x, admin: '127.0.0.1:1', https: y }
tsl: {}
workers: none
storage: { maxSize: big, maxSzie: 1 }
upstreams:
  - { name: a, url: ftp://a }
  - { name: a, url: https://b, hosts: [h], default: true }
  - { name: c, url: https://c, hosts: [h], default: true, credentials: { username: ada, password: { env: NO } } }
access: { allow: [x, 10.0.0.0/8, y] }
`,
  );
  t.strictSame(problems.map(({ key }) => key).sort(), [
    'access.allow[0]',
    'access.allow[2]',
    'listen.http',
    'listen.https',
    'storage.maxSize',
    'storage.maxSzie',
    'tsl',
    'upstreams',
    'upstreams[0].url',
    'upstreams[1].name',
    'upstreams[2].credentials.password',
    'upstreams[2].hosts[0]',
    'workers',
  ]);
});

void t.test('every value that is taken', async (t) => {
  const { files: _, ...config } = load(
    t,
    `
listen: { https: null, http: '[::1]:5000', admin: null }
tls: { cert: a.crt, key: /keys/a.key, minVersion: TLSv1.3, names: [edge.corp, '*.corp', 10.0.0.1], autoRotate: false, certificates: [{ cert: b.crt, key: /keys/b.key }] }
workers: 3
storage: { path: ../cache, maxSize: 1048576, highWatermark: 0.99 }
freshness: { tag: 0s, deadline: 500ms, staleIfError: 12h, negative: 1m }
access: { allow: [10.0.0.0/8, '::1'], deny: [10.1.2.3] }
audit: { to: audit.log }
log: { level: silent }
`,
  );
  const folder = t.testdirName;
  t.strictSame(config.upstreams[0]?.freshness, {
    tag: 0,
    deadline: 500,
    staleIfError: 43_200_000,
    negative: 60_000,
    verdict: 60_000,
    verdictGrace: 0,
  });
  t.strictSame(
    { ...config, upstreams: [] },
    {
      listen: { https: null, http: { host: '::1', port: 5000 }, admin: null },
      tls: {
        cert: `${folder}/a.crt`,
        key: '/keys/a.key',
        minVersion: 'TLSv1.3',
        names: ['edge.corp', '*.corp', '10.0.0.1'],
        autoRotate: false,
        certificates: [{ cert: `${folder}/b.crt`, key: '/keys/b.key' }],
      },
      workers: 3,
      storage: { path: `${dirname(folder)}/cache`, maxSize: 1_048_576, highWatermark: 0.99 },
      redis: null,
      upstreams: [],
      access: {
        allow: ['10.0.0.0/8', '::1'],
        deny: ['10.1.2.3'],
        listeners: {},
        trustedProxies: [],
        proxyProtocol: false,
        forbiddenNames: [],
      },
      limits: DEFAULT_LIMITS,
      auth: { mode: 'none' },
      roles: [],
      audit: { to: `${folder}/audit.log` },
      warm: [],
      log: { level: 'silent' },
    },
  );
});

void t.test('workers: auto follows the processors, within 1 to 64', async (t) => {
  t.equal(load(t, 'workers: auto', 6).workers, 6);
  t.equal(load(t, '', 6).workers, 6);
  t.equal(load(t, '', 0).workers, 1);
  t.equal(load(t, '', 128).workers, 64);
});
