import * as fc from 'fast-check';
import t, { type Test } from 'tap';
import type { Flags } from '../../src/config/flags.ts';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError, type Problem } from '../../src/config/problem.ts';
import { parseUpstreamUrl } from '../../src/config/upstreams.ts';

function load(t: Test, yaml: string, flags: Flags = {}) {
  const cwd = t.testdir({ 'edge.yaml': yaml });
  return loadConfig({ file: 'edge.yaml', flags, env: {}, cwd, cpus: 1 }).upstreams;
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

const FRESHNESS = {
  tag: 60_000,
  deadline: 1000,
  staleIfError: 2_592_000_000,
  negative: 15_000,
  verdict: 60_000,
  verdictGrace: 0,
};
const HUB = { name: 'docker.io', hosts: [], default: true, freshness: FRESHNESS, push: false } as const;

void t.test('Docker Hub is the upstream of an edge that names none', async (t) => {
  const hub = [{ ...HUB, urls: ['https://registry-1.docker.io'], authHosts: ['auth.docker.io'] }];
  t.strictSame(load(t, ''), hub);
  t.strictSame(load(t, 'upstreams:'), hub);
});

void t.test('Docker Hub keeps its token host under any name, and adds to it', async (t) => {
  const one = load(
    t,
    'upstreams: [{ name: hub, url: "https://REGISTRY-1.docker.io/", authHosts: [Login.corp] }]',
  );
  t.match(one, [{ urls: ['https://registry-1.docker.io'], authHosts: ['auth.docker.io', 'login.corp'] }]);
  const other = load(t, 'upstreams: [{ name: docker.io, url: "https://central.corp" }]');
  t.strictSame(other[0]?.authHosts, []);
});

void t.test('--upstream takes the place of the default one, and of what was built in for it', async (t) => {
  t.strictSame(load(t, '', { upstream: 'http://127.0.0.1:5555/' }), [
    { ...HUB, urls: ['http://127.0.0.1:5555'], authHosts: [] },
  ]);
  const two = `upstreams:
  - { name: ghcr.io, url: https://ghcr.io }
  - { name: docker.io, url: https://registry-1.docker.io, default: true, authHosts: [login.corp] }`;
  t.match(load(t, two, { upstream: 'https://central.corp/hub' }), [
    { name: 'ghcr.io', urls: ['https://ghcr.io'] },
    { name: 'docker.io', urls: ['https://central.corp/hub'], authHosts: ['login.corp'] },
  ]);
});

void t.test('urls follow url, hosts are in lower case', async (t) => {
  const yaml = `upstreams: [{ name: 'registry.corp:5000', url: 'https://a/p/', urls: ['http://b', 'https://a/p'],
    hosts: ['Cache.Corp:5443', '[0::1]:5'] }]`;
  t.strictSame(load(t, yaml), [
    {
      name: 'registry.corp:5000',
      urls: ['https://a/p', 'http://b'],
      hosts: ['cache.corp:5443', '[::1]:5'],
      default: true,
      authHosts: [],
      freshness: FRESHNESS,
      push: false,
    },
  ]);
});

void t.test('the catalog is off until it is turned on, upstream by upstream', async (t) => {
  const yaml = (value: string) => `upstreams: [{ name: a, url: 'https://a', catalog: ${value} }]`;
  t.equal(load(t, yaml('true'))[0]?.catalog, true);
  t.equal(load(t, yaml('false'))[0]?.catalog, undefined);
  t.equal(load(t, '')[0]?.catalog, undefined);
  t.strictSame(problemsIn(t, yaml('all')), [
    { key: 'upstreams[0].catalog', message: 'got "all"; takes true or false' },
  ]);
});

void t.test('push is off until it is turned on, for one upstream at a time', async (t) => {
  const upstreams = load(
    t,
    `upstreams:
  - { name: a, url: https://a, push: true, default: true }
  - { name: b, url: https://b, push: false }
  - { name: c, url: https://c }`,
  );
  t.match(upstreams, [{ push: true }, { push: false }, { push: false }]);
  t.match(problemsIn(t, 'upstreams: [{ name: a, url: https://a, push: yes please }]'), [
    { key: 'upstreams[0].push', message: /takes true or false/ },
  ]);
});

void t.test('exactly one of several is the default; a single one is so by itself', async (t) => {
  const two = (first: string, second: string) =>
    `upstreams: [{ name: a, url: 'https://a'${first} }, { name: b, url: 'https://b'${second} }]`;
  t.match(load(t, two('', ', default: true')), [{ default: false }, { default: true }]);
  t.match(load(t, `upstreams: [{ name: a, url: 'https://a', default: false }]`), [{ default: true }]);
  t.match(problemsIn(t, two('', '')), [{ key: 'upstreams', message: /no default; set default: true/ }]);
  t.match(problemsIn(t, two(', default: true', ', default: true')), [
    { key: 'upstreams', message: /2 defaults \(upstreams\[0\], upstreams\[1\]\)/ },
  ]);
  t.strictSame(problemsIn(t, two('', ', default: yes')), [
    { key: 'upstreams[1].default', message: 'got "yes"; takes true or false' },
  ]);
});

void t.test('names and hosts choose one upstream each', async (t) => {
  const yaml = `upstreams:
  - { name: a, url: 'https://a', hosts: [x, x], default: true }
  - { name: b, url: 'https://b', hosts: [y, X] }
  - { name: a, url: 'https://c' }`;
  t.strictSame(problemsIn(t, yaml), [
    { key: 'upstreams[1].hosts[1]', message: '"x" already chooses upstreams[0]' },
    { key: 'upstreams[2].name', message: '"a" is already the name of upstreams[0]' },
  ]);
});

void t.test('an entry that is wrong by itself', async (t) => {
  const cases: [yaml: string, key: string, message: RegExp][] = [
    ['upstreams: []', 'upstreams', /is empty/],
    ['upstreams: {}', 'upstreams', /^got a map; takes a list/],
    ['upstreams: [a]', 'upstreams[0]', /^got a text; takes a map with the keys name, url/],
    ['upstreams: [{ url: "https://a" }]', 'upstreams[0].name', /^is missing; takes a name like/],
    ['upstreams: [{ name: a }]', 'upstreams[0].url', /^is missing; takes an http/],
    ['upstreams: [{ name: A, url: "https://a" }]', 'upstreams[0].name', /^got "A"; .* in lower case/],
    [
      'upstreams: [{ name: a, url: "https://ada@a" }]',
      'upstreams[0].url',
      /"https:\/\/\*\*\*@a"; .*credentials/,
    ],
    ['upstreams: [{ name: a, url: "https://a", urls: [b] }]', 'upstreams[0].urls[0]', /^got "b"/],
    ['upstreams: [{ name: a, url: "https://a", hosts: b }]', 'upstreams[0].hosts', /^got "b"; takes a list/],
    [
      'upstreams: [{ name: a, url: "https://a", authHosts: ["https://b"] }]',
      'upstreams[0].authHosts[0]',
      /^got/,
    ],
    [
      'upstreams: [{ name: a, url: "https://a", credentials: { username: 5, password: p } }]',
      'upstreams[0].credentials.username',
      /^got 5; takes a text/,
    ],
  ];
  for (const [yaml, key, message] of cases) {
    // Literal passwords are refused by the file's mode on some systems; that is tested with the secrets.
    const problems = problemsIn(t, yaml).filter((problem) => !problem.key.endsWith('.password'));
    t.match(problems, [{ key, message }], yaml);
    t.equal(problems.length, 1);
  }
});

void t.test('an upstream URL', async (t) => {
  const taken: [text: string, url: string][] = [
    ['https://registry-1.docker.io', 'https://registry-1.docker.io'],
    ['HTTPS://A.b:443//', 'https://a.b'],
    ['http://[::1]:5000/a/b/', 'http://[::1]:5000/a/b'],
    ['https://a/x/../y', 'https://a/y'],
  ];
  for (const [text, url] of taken) t.equal(parseUpstreamUrl(text), url, text);
  const refused = [
    '',
    'a',
    'ftp://a',
    'https:a',
    'https:/a',
    '//a',
    'https://',
    'https:// a',
    ' https://a',
    'https://a\n',
  ];
  for (const text of [
    ...refused,
    'https://u@a',
    'https://u:p@a',
    'https://:p@a',
    'https://a?',
    'https://a#',
    'https://a?b',
  ])
    t.equal(parseUpstreamUrl(text), undefined, text);
  t.equal(parseUpstreamUrl('https:\\\\a'), undefined);

  fc.assert(
    fc.property(fc.webUrl({ withQueryParameters: true, withFragments: true }), fc.string(), (web, noise) =>
      [web, `${web}${noise}`, noise, `https://${noise}`].every((text) => {
        const url = parseUpstreamUrl(text);
        if (url === undefined) return true;
        const { username, password, search, hash, protocol } = new URL(`${url}/v2/`);
        return username + password + search + hash === '' && /^https?:$/.test(protocol) && !url.endsWith('/');
      }),
    ),
    { numRuns: 1000 },
  );
});
