import { chmodSync } from 'node:fs';
import t, { type Test } from 'tap';
import { loadConfig } from '../../../src/config/load.ts';
import { ConfigError, type Problem } from '../../../src/config/problem.ts';

const CANARY = 'canary-c0nf';
const KEY = 'upstreams[0].credentials';

function load(
  t: Test,
  credentials: string,
  env: Record<string, string> = {},
  url = 'https://registry.corp:5000/p',
) {
  const yaml = `upstreams: [{ name: a, url: '${url}', credentials: ${credentials} }]`;
  const cwd = t.testdir({ 'edge.yaml': yaml });
  chmodSync(`${cwd}/edge.yaml`, 0o600);
  return loadConfig({ file: 'edge.yaml', flags: {}, env, cwd, cpus: 1 }).upstreams[0]?.credentials;
}

function problemsIn(t: Test, credentials: string): readonly Problem[] {
  try {
    load(t, credentials);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    t.notMatch(error.message, CANARY, 'no message holds what may be a secret');
    return error.problems;
  }
  return [];
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

void t.test('a docker credential helper is asked for what docker calls the registry', async (t) => {
  const expected = { helper: 'ecr-login', server: 'registry.corp:5000', env: { PATH }, ttl: 300_000 };
  t.strictSame(load(t, '{ helper: ecr-login }'), expected);
  t.match(load(t, '{ helper: pass }', {}, 'https://registry-1.docker.io'), {
    server: 'https://index.docker.io/v1/',
  });
  t.match(load(t, '{ helper: pass, server: "https://x/v1/", ttl: 1h }'), {
    server: 'https://x/v1/',
    ttl: 3_600_000,
  });
});

void t.test('a program, with the password alone or with JSON', async (t) => {
  t.strictSame(load(t, '{ exec: [aws, ecr, get-login-password], username: AWS, ttl: 6h }'), {
    exec: { file: 'aws', args: ['ecr', 'get-login-password'] },
    username: 'AWS',
    env: { PATH },
    ttl: 21_600_000,
  });
  t.strictSame(load(t, '{ exec: [./bin/token, ""] }'), {
    exec: { file: `${t.testdirName}/bin/token`, args: [''] },
    env: { PATH },
    ttl: 300_000,
  });
  t.match(load(t, '{ exec: [/opt/token] }'), { exec: { file: '/opt/token', args: [] } });
});

void t.test('a program sees little of the environment, and what it is to see besides', async (t) => {
  const env = { PATH: '/p', HOME: '/h', HTTPS_PROXY: 'http://proxy', AWS_PROFILE: 'edge', SECRET: CANARY };
  t.match(load(t, '{ helper: x }', env), {
    env: { PATH: '/p', HOME: '/h', HTTPS_PROXY: 'http://proxy', SECRET: undefined, AWS_PROFILE: undefined },
  });
  t.strictSame(load(t, '{ helper: x, env: [AWS_PROFILE] }', env), {
    helper: 'x',
    server: 'registry.corp:5000',
    env: { PATH: '/p', HOME: '/h', HTTPS_PROXY: 'http://proxy', AWS_PROFILE: 'edge' },
    ttl: 300_000,
  });
});

void t.test('one source, with what belongs to it', async (t) => {
  const cases: [credentials: string, key: string, message: RegExp][] = [
    ['{}', KEY, /^has no source; takes username and password, or helper, or exec$/],
    ['{ username: ada }', KEY, /^has no source/],
    ['{ password: p }', `${KEY}.username`, /^is missing; takes a text/],
    [
      '{ username: ada, password: p, helper: x }',
      `${KEY}.helper`,
      /^does not go with password; takes one of/,
    ],
    ['{ helper: x, exec: [y] }', `${KEY}.exec`, /^does not go with helper; takes one of/],
    ['{ helper: x, username: ada }', `${KEY}.username`, /^does not go with helper$/],
    ['{ exec: [x], server: y }', `${KEY}.server`, /^does not go with exec$/],
    ['{ username: ada, password: p, ttl: 1h }', `${KEY}.ttl`, /^does not go with password$/],
    ['{ username: ada, password: p, env: [] }', '', /^$/],
    [
      `{ helper: 'ada:${CANARY}' }`,
      `${KEY}.helper`,
      /^got a text; takes the NAME of a docker-credential-NAME/,
    ],
    ['{ helper: ../x }', `${KEY}.helper`, /^got a text/],
    [
      `{ helper: x, server: 'https://ada:${CANARY}@y' }`,
      `${KEY}.server`,
      /^got a text; .*without user info$/,
    ],
    ['{ exec: [] }', `${KEY}.exec`, /^is empty; takes the program and its arguments/],
    ['{ exec: aws }', `${KEY}.exec`, /^got "aws"; takes a list: the program/],
    [`{ exec: [x, { a: ${CANARY} }] }`, `${KEY}.exec[1]`, /^got a map; takes a text/],
    ['{ exec: [x, 5] }', `${KEY}.exec[1]`, /^got a number; takes a text \(a number needs quotes\)/],
    ['{ exec: [x, "\\0"] }', `${KEY}.exec[1]`, /^got a text/],
    ['{ helper: x, env: [NOT_SET] }', `${KEY}.env[0]`, /^the environment variable NOT_SET is not set$/],
    [`{ helper: x, env: ['A=${CANARY}'] }`, `${KEY}.env[0]`, /without a value$/],
    ['{ helper: x, ttl: 0s }', `${KEY}.ttl`, /^got "0s"; takes a duration .*from 1s to 24h$/],
    ['{ helper: x, ttl: 25h }', `${KEY}.ttl`, /^got "25h"/],
    [`{ helper: x, ${CANARY}: 1 }`, KEY, /^holds something that is not a known key/],
  ];
  for (const [credentials, key, message] of cases) {
    const problems = problemsIn(t, credentials);
    t.match(problems, key === '' ? [] : [{ key, message }], credentials);
    t.equal(problems.length, key === '' ? 0 : 1, credentials);
  }
});

void t.test('each upstream has a freshness of its own over that of the edge', async (t) => {
  const cwd = t.testdir({
    'edge.yaml': `freshness: { tag: 5m, negative: 1s }
upstreams:
  - { name: a, url: 'https://a', default: true }
  - { name: b, url: 'https://b', freshness: { tag: 0s, deadline: 2s, staleIfError: 1d } }`,
  });
  const { upstreams } = loadConfig({ file: 'edge.yaml', flags: {}, env: {}, cwd, cpus: 1 });
  t.strictSame(
    upstreams.map(({ freshness }) => freshness),
    [
      {
        tag: 300_000,
        deadline: 1000,
        staleIfError: 2_592_000_000,
        negative: 1000,
        verdict: 60_000,
        verdictGrace: 0,
      },
      { tag: 0, deadline: 2000, staleIfError: 86_400_000, negative: 1000, verdict: 60_000, verdictGrace: 0 },
    ],
  );
});
