import t from 'tap';
import { dockerFiles, mergeDaemonJson } from '../../src/client-files/docker.ts';
import {
  CA,
  central,
  contentOf,
  exampleEdge,
  ghcr,
  hub,
  notesOf,
  pathsOf,
  plainEdge,
  withPort,
} from './example-edge.ts';

const DAEMON_JSON = '/etc/docker/daemon.json';

function settingsOf(edge: Parameters<typeof dockerFiles>[0]): unknown {
  return JSON.parse(contentOf(dockerFiles(edge), DAEMON_JSON) ?? 'null');
}

void t.test('a mirror for Docker Hub, the CA for each address, names for the other registries', (t) => {
  const generated = dockerFiles(exampleEdge());
  t.same(pathsOf(generated), [
    DAEMON_JSON,
    '/etc/docker/certs.d/edge.example:5443/ca.crt',
    '/etc/docker/certs.d/corp.edge.example:5443/ca.crt',
  ]);
  t.same(settingsOf(exampleEdge()), { 'registry-mirrors': ['https://edge.example:5443'] });
  t.equal(contentOf(generated, '/etc/docker/certs.d/edge.example:5443/ca.crt'), CA);
  const notes = notesOf(generated);
  for (const image of [
    'docker pull edge.example:5443/ghcr.io/REPOSITORY:TAG',
    'docker pull corp.edge.example:5443/REPOSITORY:TAG',
    'docker pull edge.example:5443/central/REPOSITORY:TAG',
    'docker pull edge.example:5443/mirror/REPOSITORY:TAG',
    'systemctl restart docker',
    'update-ca-certificates',
  ])
    t.match(notes, image);
  t.end();
});

void t.test('a mirror has no path: the address alone must mean Docker Hub', (t) => {
  const other = { ...ghcr, default: true };
  const hidden = dockerFiles(exampleEdge({ registries: [other, { ...hub, default: false }] }));
  t.equal(contentOf(hidden, DAEMON_JSON), undefined);
  t.match(notesOf(hidden), 'docker pull edge.example:5443/docker.io/REPOSITORY:TAG');

  const byHost = { ...hub, default: false, hosts: ['hub.edge.example:6443'] };
  const edge = exampleEdge({ registries: [other, byHost] });
  t.same(settingsOf(edge), { 'registry-mirrors': ['https://hub.edge.example:6443'] });
  t.ok(pathsOf(dockerFiles(edge)).includes('/etc/docker/certs.d/hub.edge.example:6443/ca.crt'));

  const called = { ...central, registry: 'docker.io', default: true };
  t.same(
    settingsOf(exampleEdge({ registries: [called] })),
    { 'registry-mirrors': ['https://edge.example:5443'] },
    'whatever the upstream is called',
  );
  t.same(pathsOf(dockerFiles(exampleEdge({ registries: [central] }))), [
    '/etc/docker/certs.d/edge.example:5443/ca.crt',
  ]);
  t.end();
});

void t.test('a registry with a port and without a host cannot be named', (t) => {
  const { notes } = {
    notes: notesOf(dockerFiles(exampleEdge({ registries: [hub, { ...withPort, hosts: [] }] }))),
  };
  t.match(notes, /registry\.corp:5000 cannot be reached: .* List a host name of the edge under its "hosts"/);
  t.end();
});

void t.test('plain: the address is named as insecure, except on loopback', (t) => {
  t.same(settingsOf(plainEdge({ registries: [hub, ghcr] })), {
    'registry-mirrors': ['http://edge.example:5000'],
    'insecure-registries': ['http://edge.example:5000'],
  });
  const near = plainEdge({ address: '127.0.0.1:5000', loopback: true, registries: [hub] });
  t.same(settingsOf(near), { 'registry-mirrors': ['http://127.0.0.1:5000'] });
  t.same(pathsOf(dockerFiles(near)), [DAEMON_JSON]);
  t.end();
});

void t.test('no CA where docker would not read it, and none that is not there', (t) => {
  const near = exampleEdge({ address: '[::1]:5443', loopback: true, registries: [hub] });
  t.same(pathsOf(dockerFiles(near)), [DAEMON_JSON]);
  t.same(settingsOf(near), {
    'registry-mirrors': ['https://[::1]:5443'],
    'insecure-registries': ['https://[::1]:5443'],
  });
  t.match(notesOf(dockerFiles(near)), 'checks no certificate of a loopback address');
  const both = exampleEdge({ address: 'localhost:5443', loopback: true, registries: [hub, withPort] });
  t.match(settingsOf(both), { 'insecure-registries': ['https://localhost:5443'] });
  t.same(pathsOf(dockerFiles(both)), [DAEMON_JSON, '/etc/docker/certs.d/corp.edge.example:5443/ca.crt']);
  const { ca: _, ...trusted } = exampleEdge({ registries: [hub] });
  t.same(pathsOf(dockerFiles(trusted)), [DAEMON_JSON]);
  t.notMatch(notesOf(dockerFiles(trusted)), 'ca.crt');
  t.end();
});

void t.test('IPv6', (t) => {
  const edge = exampleEdge({ address: '[fd00::1]:5443', registries: [hub] });
  t.same(settingsOf(edge), { 'registry-mirrors': ['https://[fd00::1]:5443'] });
  t.ok(pathsOf(dockerFiles(edge)).includes('/etc/docker/certs.d/[fd00::1]:5443/ca.crt'));
  t.end();
});

void t.test('what is in daemon.json stays there', (t) => {
  const wanted = { 'registry-mirrors': ['https://edge.example:5443'] };
  const merged = (existing: string): unknown => {
    const result = mergeDaemonJson(existing, wanted);
    return 'content' in result ? JSON.parse(result.content) : result.problem;
  };
  t.same(merged('{"debug":true}'), { debug: true, ...wanted });
  t.same(merged(''), wanted);
  t.same(
    merged('{"registry-mirrors":["https://other"],"log-driver":"journald","__proto__":{"a":1}}'),
    JSON.parse(
      '{"registry-mirrors":["https://edge.example:5443","https://other"],"log-driver":"journald","__proto__":{"a":1}}',
    ),
  );
  for (const same of [
    '{ "registry-mirrors": [ "https://other", "https://edge.example:5443" ] }',
    '{"registry-mirrors":["https://edge.example:5443/"]}',
  ])
    t.same(mergeDaemonJson(same, wanted), { content: same }, 'untouched, to the blank');
  t.match(mergeDaemonJson('{\n\t"debug": true\n}', wanted), {
    content: /^\{\n\t"debug": true,\n\t"registry/,
  });
  t.match(merged('{ // a remark\n}'), 'is not JSON');
  for (const other of ['[]', 'null', '"text"', '5']) t.match(merged(other), 'is no JSON object', other);
  t.match(merged('{"registry-mirrors":"https://other"}'), 'something else than a list in "registry-mirrors"');
  t.end();
});
