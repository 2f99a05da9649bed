import t from 'tap';
import { podmanFiles } from '../../src/client-files/podman.ts';
import {
  contentOf,
  exampleEdge,
  hub,
  nameless,
  notesOf,
  pathsOf,
  plainEdge,
  withPort,
} from './example-edge.ts';

const CONF = '/etc/containers/registries.conf.d/50-pierhead.conf';

function mirrorOf(content: string | undefined, prefix: string): string | undefined {
  const block = `prefix = "${prefix}"\nlocation = "${prefix}"\n\n[[registry.mirror]]\nlocation = "`;
  const [, rest] = content?.split(block) ?? [];
  return rest?.split('"')[0];
}

void t.test('each registry has a mirror whose path, or host, means it', (t) => {
  const generated = podmanFiles(exampleEdge());
  const content = contentOf(generated, CONF);
  t.equal(mirrorOf(content, 'docker.io'), 'edge.example:5443/docker.io', 'the default one too');
  t.equal(mirrorOf(content, 'ghcr.io'), 'edge.example:5443/ghcr.io');
  t.equal(mirrorOf(content, 'registry.corp:5000'), 'corp.edge.example:5443', 'a port cannot stand in a path');
  t.equal(mirrorOf(content, 'central.corp'), 'edge.example:5443/central');
  t.notMatch(content, 'insecure');
  t.same(pathsOf(generated), [
    CONF,
    '/etc/containers/certs.d/edge.example:5443/ca.crt',
    '/etc/containers/certs.d/corp.edge.example:5443/ca.crt',
  ]);
  t.match(notesOf(generated), 'podman pull edge.example:5443/mirror/REPOSITORY:TAG');
  t.end();
});

void t.test(
  'with a port in its name the default registry is the bare address, any other is out of reach',
  (t) => {
    const bare = podmanFiles(exampleEdge({ registries: [{ ...withPort, default: true }] }));
    t.equal(mirrorOf(contentOf(bare, CONF), 'registry.corp:5000'), 'edge.example:5443');
    const lost = podmanFiles(exampleEdge({ registries: [hub, { ...withPort, hosts: [] }] }));
    t.notMatch(contentOf(lost, CONF), 'registry.corp');
    t.match(notesOf(lost), 'registry.corp:5000 cannot be reached');
    t.end();
  },
);

void t.test('plain: insecure, for the mirrors and for the address itself', (t) => {
  const content = contentOf(podmanFiles(plainEdge({ registries: [hub] })), CONF);
  t.match(content, 'location = "edge.example:5000/docker.io"\ninsecure = true\n');
  t.match(content, '[[registry]]\nlocation = "edge.example:5000"\ninsecure = true\n');
  t.same(pathsOf(podmanFiles(plainEdge())), [CONF], 'no CA');
  t.end();
});

void t.test('nothing is written that says nothing', (t) => {
  const { ca: _, ...edge } = exampleEdge({ registries: [nameless] });
  t.same(pathsOf(podmanFiles(edge)), []);
  t.end();
});

void t.test('an IPv6 address is refused: no image can be named so', (t) => {
  t.match(podmanFiles(exampleEdge({ address: '[fd00::1]:5443' })), {
    problem: /IPv6 .*--host or in tls\.names/,
  });
  const own = { ...withPort, hosts: ['[fd00::1]'] };
  t.notMatch(contentOf(podmanFiles(exampleEdge({ registries: [hub, own] })), CONF), 'fd00');
  t.end();
});
