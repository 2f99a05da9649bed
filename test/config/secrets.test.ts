import * as fc from 'fast-check';
import { chmodSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError, type Problem } from '../../src/config/problem.ts';
import { readSecret } from '../../src/config/secrets.ts';

const CANARY = 'canary-7f3a';
const KEY = 'upstreams[0].credentials.password';

interface Attempt {
  readonly yaml: string;
  readonly mode?: number;
  readonly files?: Record<string, string>;
  readonly env?: Record<string, string>;
}

function load(t: Test, { yaml, mode = 0o600, files = {}, env = {} }: Attempt) {
  const cwd = t.testdir({ 'edge.yaml': yaml, ...files });
  chmodSync(`${cwd}/edge.yaml`, mode);
  return loadConfig({ file: 'edge.yaml', flags: {}, env, cwd, cpus: 1 });
}

function problemsIn(t: Test, attempt: Attempt): readonly Problem[] {
  try {
    load(t, attempt);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    t.notMatch(
      `${error.message}${error.stack}${JSON.stringify(error)}`,
      CANARY,
      'no message holds the secret',
    );
    return error.problems;
  }
  return [];
}

const withPassword = (password: string) =>
  `upstreams: [{ name: a, url: 'https://a', credentials: { username: ada, password: ${password} } }]`;

void t.test('a secret comes from the file itself, the environment or a file of its own', async (t) => {
  const secretOf = (t: Test, attempt: Attempt) => load(t, attempt).upstreams[0]?.credentials;
  const expected = { username: 'ada', password: CANARY };
  t.strictSame(secretOf(t, { yaml: withPassword(CANARY) }), expected);
  t.strictSame(secretOf(t, { yaml: withPassword('{ env: PW }'), env: { PW: CANARY } }), expected);
  for (const ending of ['', '\n', '\r\n']) {
    const files = { secret: `${CANARY}${ending}` };
    t.strictSame(secretOf(t, { yaml: withPassword('{ file: secret }'), files }), expected);
  }
  const files = { secret: ` ${CANARY}\n\n` };
  t.match(secretOf(t, { yaml: withPassword('{ file: secret }'), files }), { password: ` ${CANARY}\n` });
});

void t.test('a literal secret is refused in a file that every user may read', async (t) => {
  for (const mode of [0o644, 0o604]) {
    const [problem, ...more] = problemsIn(t, { yaml: withPassword(CANARY), mode });
    t.equal(problem?.key, KEY);
    t.match(problem?.message, /chmod 600 .*edge\.yaml.*\{ file: PATH \}/);
    t.strictSame(more, []);
  }
  t.strictSame(problemsIn(t, { yaml: withPassword(CANARY), mode: 0o640 }), []);
  t.strictSame(problemsIn(t, { yaml: withPassword('{ env: PW }'), mode: 0o644, env: { PW: CANARY } }), []);
});

void t.test('a secret that cannot be had is a problem of its key', async (t) => {
  const cases: [password: string, message: RegExp, files?: Record<string, string>][] = [
    ['{ env: GONE }', /variable GONE is not set/],
    ['{ env: toString }', /variable toString is not set/],
    ['{ env: EMPTY }', /variable EMPTY is empty/],
    ['{ file: gone }', /gone does not exist/],
    ['{ file: . }', /is a folder/],
    ['{ file: empty }', /empty is empty/, { empty: '\n' }],
    ["''", /is empty/],
    ['12345', /got a number/],
    ['true', /got a boolean; takes a text/],
    ['[a]', /got a list/],
    ['{ env: A, file: B }', /got a map/],
    ['{ env: 1 }', /got a map/],
  ];
  for (const [password, message, files = {}] of cases) {
    const problems = problemsIn(t, { yaml: withPassword(password), files, env: { EMPTY: '' } });
    t.match(problems, [{ key: KEY, message }], password);
    t.equal(problems.length, 1);
  }
});

void t.test('a secret in the wrong place is not repeated', async (t) => {
  const password = (text: string) => `x: { password: ${text} }`;
  const upstream = (text: string) => `upstreams: [{ name: a, ${text} }]`;
  const wrong = [
    // Broken YAML around a password with special characters.
    password(`*${CANARY}`),
    password(`!${CANARY} x`),
    password(`"${CANARY}" ${CANARY}`),
    password(`"\\q${CANARY}"`),
    password(`@${CANARY}`),
    `password: |${CANARY}\n x`,
    `password: ${CANARY}: ${CANARY}`,
    `%${CANARY}\na: b`,
    // Where another kind of value belongs.
    withPassword(`{ ${CANARY} }`),
    withPassword(`{ env: 'x ${CANARY}' }`),
    upstream(`url: 'https://a', credentials: { ada, ${CANARY} }`),
    upstream(`url: 'https://a', credentials: 'ada:${CANARY}'`),
    upstream(`url: 'https://a', credentials: [ada, ${CANARY}]`),
    upstream(`url: 'https://ada:${CANARY}@a'`),
    upstream(`url: 'https://ada:${CANARY}/x@a'`),
    upstream(`url: 'ada:${CANARY}@a'`),
    upstream(`url: 'https://a?token=${CANARY}'`),
    upstream(`url: 'https://a#${CANARY}'`),
    upstream(`url: 'https://a', urls: 'https://ada:${CANARY}@a'`),
    `upstreams: https://ada:${CANARY}@a`,
    `redis: { url: 'redis://:${CANARY}@a', password: ${CANARY} }`,
    `auth: { mode: edge, edge: { ldap: { bindPassword: ${CANARY} } } }`,
  ];
  for (const yaml of wrong)
    t.not(problemsIn(t, { yaml, mode: 0o644 }).length, 0, yaml.replaceAll(CANARY, '…'));
});

void t.test('the flags keep a secret to themselves too', async (t) => {
  const flags = { upstream: `https://ada:${CANARY}@a`, redis: `redis://:${CANARY}@a` };
  try {
    loadConfig({ flags, env: {}, cwd: '/', cpus: 1 });
    t.fail('refused');
  } catch (error) {
    t.match(error, { problems: [{ key: '--upstream' }, { key: '--redis' }] });
    t.notMatch(String(error), CANARY);
  }
});

void t.test('no source of any shape puts its text into the problem', async () => {
  const surroundings = { env: {}, folder: '/nonexistent', cpus: 1, literalsRefused: 'refused' };
  const hidden = fc.string({ minLength: 0 }).map((text) => `${CANARY}${text}`);
  const key = fc.oneof(hidden, fc.string());
  const source = fc.oneof(
    hidden,
    fc.array(hidden),
    fc.dictionary(key, fc.oneof(fc.array(hidden), fc.integer())),
  );
  fc.assert(
    fc.property(source, (source) => {
      const reading = readSecret(source, surroundings);
      return 'problem' in reading && !reading.problem.includes(CANARY);
    }),
  );
});

void t.test('a CA is read into the configuration', async (t) => {
  const [one = '', two = ''] = rootCertificates;
  const withCa = (ca: string) => `upstreams: [{ name: a, url: 'https://a', ca: ${ca} }]`;
  const files = { 'ca.pem': `subject: someone\n${one}\n${two}\n` };
  t.equal(load(t, { yaml: withCa('ca.pem'), files }).upstreams[0]?.ca, `${one}\n${two}\n`);
  const broken = one.replace(/\n[^\n]+/, '\nAAAA');
  const cases: [ca: string, message: RegExp][] = [
    ['gone.pem', /gone\.pem does not exist/],
    ['other.pem', /other\.pem is not a file with PEM certificates/],
    ['broken.pem', /broken\.pem is not a file with PEM certificates/],
    ['5', /got 5; takes the path/],
  ];
  for (const [ca, message] of cases) {
    const files = { 'other.pem': CANARY, 'broken.pem': `${two}\n${broken}` };
    t.match(problemsIn(t, { yaml: withCa(ca), files }), [{ key: 'upstreams[0].ca', message }], ca);
  }
});
