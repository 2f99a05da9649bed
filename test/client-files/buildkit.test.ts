import t from 'tap';
import { buildkitFiles } from '../../src/client-files/buildkit.ts';
import { contentOf, exampleEdge, ghcr, hub, notesOf, pathsOf, plainEdge, withPort } from './example-edge.ts';

const CONF = '/etc/buildkit/buildkitd.toml';

void t.test('a mirror for each registry, and a section for the edge itself with the CA', (t) => {
  const generated = buildkitFiles(exampleEdge({ registries: [hub, withPort] }));
  t.equal(
    contentOf(generated, CONF),
    `# pierhead client-config buildkit, for the edge https://edge.example:5443
[registry."docker.io"]
  mirrors = ["edge.example:5443"]

[registry."registry.corp:5000"]
  mirrors = ["edge.example:5443"]

[registry."edge.example:5443"]
  ca = ["/etc/buildkit/certs/edge.example:5443/ca.crt"]
`,
  );
  t.same(pathsOf(generated), [CONF, '/etc/buildkit/certs/edge.example:5443/ca.crt']);
  t.match(notesOf(buildkitFiles(exampleEdge())), 'central is not mirrored: clients ask for central.corp');
  t.end();
});

void t.test('plain is said, and so is TLS on loopback, where BuildKit would not try it', (t) => {
  const plain = contentOf(buildkitFiles(plainEdge({ registries: [ghcr] })), CONF);
  t.match(plain, '[registry."edge.example:5000"]\n  http = true\n');
  const near = exampleEdge({ address: 'localhost:5443', loopback: true, registries: [ghcr] });
  t.match(contentOf(buildkitFiles(near), CONF), '[registry."localhost:5443"]\n  http = false\n  ca = [');
  const { ca: _, ...trusted } = exampleEdge({ registries: [ghcr] });
  t.notMatch(contentOf(buildkitFiles(trusted), CONF), '[registry."edge.example', 'nothing to say of it');
  t.end();
});
