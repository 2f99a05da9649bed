import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import type { Config } from '../../src/config/config.ts';

const HTPASSWD = `ada:$2y$05$${'a'.repeat(53)}\n`;
const EDGE = 'auth: { mode: edge, allowPlain: true, edge: { htpasswd: users } }';
const TWO =
  'upstreams: [{ name: hub, url: "https://registry-1.docker.io", default: true }, { name: corp, url: "http://c" }]';

function load(t: Test, ...lines: string[]): Config {
  const cwd = t.testdir({ 'edge.yaml': lines.join('\n'), users: HTPASSWD });
  return loadConfig({ file: 'edge.yaml', flags: {}, env: {}, cwd, cpus: 1 });
}

function problemOf(t: Test, role: string, ...lines: string[]): string {
  try {
    load(t, `roles: [${role}]`, ...lines);
    return 'none';
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ key, message }) => `${key} ${message}`).join('\n');
  }
}

void t.test('what a role cannot be is told by key, with what is taken instead', async (t) => {
  const pattern = 'takes a pattern over whole repository names';
  const cases: [role: string, ...problem: string[]][] = [
    ['{ role: admin, users: [a] }', 'roles[0].role got "admin"; takes one of reader, publisher, operator'],
    ['{ users: [a] }', 'roles[0].role is missing; takes one of reader, publisher, operator'],
    ['{ role: reader }', 'roles[0] is for nobody; takes users, groups or networks'],
    ['{ role: reader, user: [a] }', 'roles[0].user is not a known key; did you mean users?'],
    ['{ role: reader, users: ada }', 'roles[0].users got "ada"; takes a list'],
    ['{ role: reader, users: [""] }', 'roles[0].users[0] got ""; takes a name'],
    ['{ role: reader, users: ["a\\nb"] }', 'roles[0].users[0] got "a\\u000ab"; takes a name'],
    ['{ role: reader, groups: ["*"] }', 'roles[0].groups[0] got "*"', 'whoever is known is * in users'],
    [
      '{ role: reader, networks: [10.0.0.256] }',
      'roles[0].networks[0] got "10.0.0.256"; takes an IP address',
    ],
    [
      '{ role: reader, users: [a], upstream: ghcr.io }',
      'roles[0].upstream got "ghcr.io"; takes the name of an upstream: hub, corp',
    ],
    [
      '{ role: operator, networks: [10.0.0.0/8] }',
      'roles[0] makes operators of whole networks; takes users or groups',
    ],
    ['{ role: operator, users: [a], upstream: hub }', 'roles[0].upstream limits nothing'],
    ['{ role: operator, users: [a], repositories: ["a/*"] }', 'roles[0].repositories limits nothing'],
    [
      '{ role: reader, users: [a], upstream: hub, repositories: [alpine] }',
      'roles[0].repositories[0] got "alpine"',
      'takes library/alpine',
    ],
    [
      '{ role: reader, users: [a], upstream: hub, repositories: ["*"] }',
      'roles[0].repositories[0] got "*"',
      'or ** for all',
    ],
    ...['/a', 'a/', 'a//b', '***', 'a**', '**b/c', 'A', 'a b', 'a:1', 'a/%', '', 'a'.repeat(256)].map(
      (text): [string, string, string] => [
        `{ role: reader, users: [a], repositories: ["${text}"] }`,
        'roles[0].repositories[0] got "',
        pattern,
      ],
    ),
  ];
  for (const [role, ...expected] of cases) {
    const problem = problemOf(t, role, EDGE, TWO);
    for (const part of expected) t.ok(problem.includes(part), `${role}: ${problem}`);
    t.notMatch(problem, '\n', 'one problem');
  }
});

void t.test('names are for auth.mode edge alone', async (t) => {
  for (const mode of ['none', 'upstream'])
    for (const who of ['users: [ada]', 'groups: [ops]'])
      t.match(
        problemOf(t, `{ role: reader, ${who} }`, `auth: { mode: ${mode}, allowPlain: true }`),
        `roles[0] names users or groups, which only auth.mode edge knows; takes networks with auth.mode ${mode}`,
      );
  t.match(
    problemOf(t, '{ role: reader, users: [ada] }', 'auth: { mode: edge, allowPlain: true }'),
    /^auth\.edge has no source of identities[^\n]*$/,
    'what follows from another problem is not told',
  );
  t.equal(problemOf(t, '{ role: reader, networks: [10.0.0.0/8] }'), 'none');
});

void t.test('what is taken', async (t) => {
  const patterns = ['a', '*', '**', 'a/*', '**/a', 'a/**/b', 'a-*.x_*/y', `${'a/'.repeat(127)}a`];
  const quoted = patterns.map((text) => `"${text}"`).join(', ');
  const { roles } = load(
    t,
    EDGE,
    TWO,
    'roles:',
    `  - { role: publisher, users: [ada, "*"], groups: [ops], networks: [10.0.0.0/8], upstream: corp, repositories: [${quoted}] }`,
    '  - { role: reader, networks: ["fd00::/8"], repositories: [alpine] }',
    '  - { role: operator, groups: [ops], networks: [10.0.0.0/8] }',
  );
  t.strictSame(roles, [
    {
      role: 'publisher',
      users: ['ada', '*'],
      groups: ['ops'],
      networks: ['10.0.0.0/8'],
      repositories: patterns,
      upstream: 'corp',
    },
    { role: 'reader', users: [], groups: [], networks: ['fd00::/8'], repositories: ['alpine'] },
    { role: 'operator', users: [], groups: ['ops'], networks: ['10.0.0.0/8'], repositories: [] },
  ]);
});
