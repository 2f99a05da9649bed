import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import t, { type Test } from 'tap';
import type { RedisConfig } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError, type Problem } from '../../src/config/problem.ts';
import { selfSigned } from '../support/self-signed.ts';
import { tempFolder } from '../support/temp.ts';

const SECRET = '0123456789abcdef0123456789abcdef';
const CANARY = 'canary-4711-canary-4711-canary-4711';

function load(t: Test, redis: string, flag?: string): RedisConfig | null {
  const cwd = t.testdir({
    'edge.yaml': `redis: ${redis}`,
    'ca.pem': rootCertificates[0] ?? '',
    password: 'p\n',
  });
  chmodSync(join(cwd, 'edge.yaml'), 0o600);
  const flags = flag === undefined ? {} : { redis: flag };
  return loadConfig({ file: 'edge.yaml', flags, env: { SITE_SECRET: SECRET }, cwd, cpus: 1 }).redis;
}

function problems(t: Test, redis: string): readonly Problem[] {
  try {
    load(t, redis);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const DEFAULTS = { prefix: 'pierhead:', timeout: 100, database: 0 };

void t.test('off without a url, whatever else stands there', async (t) => {
  for (const redis of [
    '{}',
    '{ url: null }',
    `{ secret: ${SECRET}, prefix: 'a:', timeout: 1s }`,
    '{ sentinels: [] }',
  ])
    t.equal(load(t, redis), null, redis);
  t.equal(load(t, '{ url: redis://a }', 'off'), null);
});

void t.test('one server, in every form of its url', async (t) => {
  const forms: [url: string, config: object][] = [
    ['redis://a', { nodes: [{ host: 'a', port: 6379 }] }],
    ['redis://10.0.0.1:7000/3', { nodes: [{ host: '10.0.0.1', port: 7000 }], database: 3 }],
    ['redis://[::1]:7000/', { nodes: [{ host: '::1', port: 7000 }] }],
    ['rediss://Redis.corp', { nodes: [{ host: 'redis.corp', port: 6379 }], tls: {} }],
    ['unix:///run/redis.sock', { nodes: [{ path: '/run/redis.sock' }] }],
  ];
  for (const [url, config] of forms) {
    t.strictSame(load(t, `{ url: '${url}' }`), { ...DEFAULTS, mode: 'standalone', ...config }, url);
    t.strictSame(load(t, '{}', url), { ...DEFAULTS, mode: 'standalone', ...config }, `--redis ${url}`);
  }
});

void t.test('who asks, and under what', async (t) => {
  const redis = `{ url: redis://a, prefix: 'site:', timeout: 50ms, secret: { env: SITE_SECRET }, username: edge,
    password: { file: password }, tls: { ca: ca.pem, servername: redis.corp } }`;
  t.strictSame(load(t, redis), {
    prefix: 'site:',
    timeout: 50,
    secret: SECRET,
    username: 'edge',
    password: 'p',
    mode: 'standalone',
    nodes: [{ host: 'a', port: 6379 }],
    database: 0,
    tls: { ca: `${rootCertificates[0]}\n`, servername: 'redis.corp' },
  });
  t.match(load(t, '{ url: redis://a, tls: true }'), { tls: {} });
  t.notHas(load(t, '{ url: redis://a, tls: false }'), 'tls');
});

void t.test('a client certificate', async (t) => {
  const dir = tempFolder(t);
  const { cert, key } = await selfSigned(dir);
  const files = `cert: ${dir}/self-signed.crt`;
  t.strictSame(load(t, `{ url: redis://a, tls: { ${files}, key: ${dir}/self-signed.key } }`)?.tls, {
    cert: cert.toString(),
    key: key.toString(),
  });
  t.match(problems(t, `{ url: redis://a, tls: { ${files} } }`), [{ key: 'redis.tls', message: /together/ }]);
  t.match(problems(t, `{ tls: { cert: ca.pem, key: ${dir}/self-signed.key } }`), [
    { key: 'redis.tls', message: 'key: is not the key of cert' },
  ]);
});

void t.test('Sentinels and a cluster', async (t) => {
  t.strictSame(load(t, '{ sentinels: [s1, "s2:5"], name: site, sentinelPassword: p }'), {
    ...DEFAULTS,
    mode: 'sentinel',
    nodes: [
      { host: 's1', port: 26_379 },
      { host: 's2', port: 5 },
    ],
    name: 'site',
    sentinelPassword: 'p',
  });
  t.match(load(t, '{ sentinels: [s1], name: site }', 'redis://a'), {
    mode: 'standalone',
    nodes: [{ host: 'a' }],
  });
  t.strictSame(load(t, '{ url: rediss://a, cluster: true, nodes: ["b:7001"] }'), {
    ...DEFAULTS,
    mode: 'cluster',
    nodes: [
      { host: 'a', port: 6379 },
      { host: 'b', port: 7001 },
    ],
    tls: {},
  });
});

void t.test('every wrong value says what it takes', async (t) => {
  const cases: [redis: string, key: string, message: RegExp][] = [
    [
      '{ url: http://a }',
      'url',
      /^got "http:\/\/a"; takes redis:\/\/HOST:PORT, rediss:.*redis\.password are for\), or null/,
    ],
    [
      '{ url: "redis://ada:secret@a" }',
      'url',
      /^got "redis:\/\/\*\*\*@a"; .*redis\.username and redis\.password/,
    ],
    ['{ url: "redis://a?db=1" }', 'url', /^got/],
    ['{ url: "redis://a:99999" }', 'url', /^got/],
    ['{ url: redis:// }', 'url', /^got/],
    ['{ url: "unix://run/redis.sock" }', 'url', /^got/],
    ['{ url: 5 }', 'url', /^got 5/],
    ['{ url: redis://a, prefix: "" }', 'prefix', /^got ""; takes a text of 1 to 128/],
    ['{ url: redis://a, prefix: "a b" }', 'prefix', /without blanks/],
    ['{ url: redis://a, timeout: 100 }', 'timeout', /^got 100; takes a duration .*from 1ms to 10s/],
    ['{ url: redis://a, timeout: 0ms }', 'timeout', /from 1ms/],
    ['{ url: redis://a, timeout: 11s }', 'timeout', /to 10s/],
    [
      '{ url: redis://a, secret: short }',
      'secret',
      /fewer than 32 characters; make one with "openssl rand -base64 32"/,
    ],
    ['{ url: redis://a, secret: 5 }', 'secret', /^got a number/],
    ['{ url: redis://a, username: ada }', 'password', /is missing/],
    ['{ url: redis://a, tls: 5 }', 'tls', /^got a number; takes true, or a map/],
    ['{ url: redis://a, tls: { caa: x } }', 'tls', /not known; takes true/],
    ['{ url: redis://a, tls: { ca: gone.pem } }', 'tls', /^ca: the file .*gone\.pem does not exist/],
    ['{ url: redis://a, tls: { servername: "a b" } }', 'tls', /^servername: got "a b"; takes a host name/],
    ['{ sentinels: s1, name: a }', 'sentinels', /takes a list/],
    ['{ sentinels: [s1] }', 'name', /is missing; takes the name/],
    ['{ sentinels: [s1], name: a, url: redis://a }', 'url', /beside sentinels/],
    ['{ sentinels: [s1], name: a, cluster: true }', 'cluster', /beside sentinels/],
    ['{ url: redis://a, name: a }', 'name', /with sentinels only/],
    ['{ url: redis://a, nodes: [b] }', 'nodes', /with cluster: true only/],
    ['{ url: redis://a/1, cluster: true }', 'url', /without a database/],
    ['{ url: redis://a, cluster: maybe }', 'cluster', /takes true or false/],
    ['{ urll: redis://a }', 'urll', /did you mean url/],
  ];
  for (const [redis, key, message] of cases) {
    const found = problems(t, redis);
    t.match(found, [{ key: `redis.${key}`, message }], redis);
    t.equal(found.length, 1, 'and nothing else');
  }
});

void t.test('no problem repeats a secret', async (t) => {
  const wrong = [
    `{ url: 'redis://:${CANARY}@a' }`,
    `{ url: 'redis://a?password=${CANARY}' }`,
    `{ url: redis://a, secret: { ${CANARY} } }`,
    `{ url: redis://a, password: [${CANARY}] }`,
    `{ url: redis://a, tls: { ${CANARY}: x } }`,
    `{ url: redis://a, tls: ${CANARY} }`,
  ];
  for (const redis of wrong) {
    const found = problems(t, redis);
    t.not(found.length, 0);
    t.notMatch(JSON.stringify(found), CANARY);
  }
});
