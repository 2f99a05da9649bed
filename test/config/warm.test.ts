import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError, type Problem } from '../../src/config/problem.ts';
import { imageText } from '../../src/oci/image-reference.ts';

function load(t: Test, yaml: string) {
  const cwd = t.testdir({ 'edge.yaml': yaml });
  return loadConfig({ file: 'edge.yaml', flags: {}, env: {}, cwd, cpus: 1 }).warm;
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

void t.test('nothing is fetched by itself unless it is said', async (t) => {
  t.strictSame(load(t, ''), []);
  t.strictSame(load(t, 'warm: []'), []);
  t.strictSame(load(t, 'warm:'), []);
});

void t.test('a schedule with little and one with everything', async (t) => {
  const [short, long] = load(
    t,
    `
upstreams:
  - { name: docker.io, url: "https://registry-1.docker.io", default: true }
  - { name: ghcr.io, url: "https://ghcr.io" }
warm:
  - { schedule: "@daily", images: [alpine] }
  - name: work-days
    schedule: "0 5 * * 1-5"
    timezone: Europe/Berlin
    jitter: 10m
    images: [ghcr.io/org/app:v1, "bitnami/redis"]
    platforms: [linux/amd64, linux/arm/v7]
    pin: true
`,
  );
  t.match(short, {
    name: 'warm[0]',
    time: { pattern: '@daily', timezone: undefined },
    jitter: 0,
    platforms: undefined,
    pin: false,
  });
  t.same(short?.images.map(imageText), ['docker.io/library/alpine:latest']);
  t.match(long, {
    name: 'work-days',
    time: { pattern: '0 5 * * 1-5', timezone: 'Europe/Berlin' },
    jitter: 600_000,
    platforms: [
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm', variant: 'v7' },
    ],
    pin: true,
  });
  t.same(long?.images.map(imageText), ['ghcr.io/org/app:v1', 'docker.io/bitnami/redis:latest']);
  t.equal(load(t, 'warm: [{ schedule: "@daily", images: [a], platforms: [all] }]')[0]?.platforms, 'all');
});

void t.test('what is wrong is named, with what it takes', async (t) => {
  for (const [entry, key, ...named] of [
    ['{ schedule: soon, images: [a] }', 'warm[0].schedule', 'got "soon"', 'minute hour day month weekday'],
    ['{ schedule: "61 * * * *", images: [a] }', 'warm[0].schedule', '"61 * * * *"', 'minute: 61'],
    ['{ schedule: "0 0 30 2 *", images: [a] }', 'warm[0].schedule', 'there is no such time'],
    ['{ schedule: "* * *", images: [a] }', 'warm[0].schedule', 'five fields'],
    ['{ schedule: 5, images: [a] }', 'warm[0].schedule', 'got 5; takes'],
    ['{ schedule: "2030-01-01T00:00:00", images: [a] }', 'warm[0].schedule', 'a date'],
    ['{ images: [a] }', 'warm[0].schedule', 'is missing; takes'],
    ['{ schedule: "@daily", images: [a], timezone: Mars }', 'warm[0].timezone', '"Mars"', 'Europe/Berlin'],
    ['{ schedule: "@daily", images: [a], jitter: 2d }', 'warm[0].jitter', '"2d"', 'at most 24h'],
    ['{ schedule: "@daily", images: [] }', 'warm[0].images', 'at least one image'],
    ['{ schedule: "@daily", images: [a, App] }', 'warm[0].images[1]', 'got "App"', 'library/alpine:3.20'],
    [
      '{ schedule: "@daily", images: [quay.io/a] }',
      'warm[0].images[0]',
      'no upstream quay.io',
      'has docker.io',
    ],
    [
      '{ schedule: "@daily", images: [a], platforms: [amd64] }',
      'warm[0].platforms[0]',
      '"amd64"',
      'linux/amd64',
    ],
    ['{ schedule: "@daily", images: [a], name: "a b" }', 'warm[0].name', '"a b"'],
    ['{ schedule: "@daily", images: [a], pins: true }', 'warm[0].pins', 'did you mean pin?'],
  ] as const) {
    const [problem, ...others] = problemsIn(t, `warm: [${entry}]`);
    t.same(others, [], entry);
    t.equal(problem?.key, key, entry);
    for (const words of named)
      t.ok(problem?.message.includes(words), `${entry}: ${words} in ${problem?.message}`);
  }
  const two =
    'warm: [{ name: a, schedule: "@daily", images: [a] }, { name: a, schedule: "@daily", images: [b] }]';
  t.match(problemsIn(t, two), [{ key: 'warm[1].name', message: /already the name of warm\[0\]/ }]);
});
