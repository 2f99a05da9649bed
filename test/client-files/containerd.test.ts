import t from 'tap';
import { containerdFiles } from '../../src/client-files/containerd.ts';
import { CA, contentOf, exampleEdge, hub, notesOf, pathsOf, plainEdge } from './example-edge.ts';

const CERTS = '/etc/containerd/certs.d';

void t.test('a hosts.toml for each registry whose name is that of the upstream, and one CA for all', (t) => {
  const generated = containerdFiles(exampleEdge());
  t.same(pathsOf(generated), [
    `${CERTS}/docker.io/hosts.toml`,
    `${CERTS}/ghcr.io/hosts.toml`,
    `${CERTS}/registry.corp:5000/hosts.toml`,
    `${CERTS}/edge.example:5443/ca.crt`,
  ]);
  t.equal(
    contentOf(generated, `${CERTS}/docker.io/hosts.toml`),
    `# pierhead client-config containerd, for the edge https://edge.example:5443
server = "https://registry-1.docker.io"

[host."https://edge.example:5443"]
  capabilities = ["pull", "resolve"]
  ca = "../edge.example:5443/ca.crt"
`,
  );
  t.match(
    contentOf(generated, `${CERTS}/registry.corp:5000/hosts.toml`),
    /^server = "http:\/\/registry\.corp:5000"$/m,
    'without the edge, as the edge itself reaches it',
  );
  t.equal(contentOf(generated, `${CERTS}/edge.example:5443/ca.crt`), CA);
  t.end();
});

void t.test('both layouts of config.toml are told, and what cannot be mirrored', (t) => {
  const notes = notesOf(containerdFiles(exampleEdge()));
  t.match(
    notes,
    '[plugins."io.containerd.cri.v1.images".registry]\n      config_path = "/etc/containerd/certs.d"',
  );
  t.match(
    notes,
    '[plugins."io.containerd.grpc.v1.cri".registry]\n      config_path = "/etc/containerd/certs.d"',
  );
  t.match(
    notes,
    /central is not mirrored: clients ask for central\.corp, .* edge\.example:5443\/central\/REPOSITORY:TAG/,
  );
  t.match(notes, /mirror is not mirrored: .* edge\.example:5443\/mirror\/REPOSITORY:TAG/);
  t.end();
});

void t.test('plain: no CA, and the address of the edge is told to be plain', (t) => {
  const generated = containerdFiles(plainEdge({ registries: [hub] }));
  t.same(pathsOf(generated), [`${CERTS}/docker.io/hosts.toml`, `${CERTS}/edge.example:5000/hosts.toml`]);
  t.notMatch(contentOf(generated, `${CERTS}/docker.io/hosts.toml`), 'ca =');
  t.match(
    contentOf(generated, `${CERTS}/edge.example:5000/hosts.toml`),
    'server = "http://edge.example:5000"\n\n[host."http://edge.example:5000"]\n',
  );
  t.end();
});

void t.test('IPv6', (t) => {
  const generated = containerdFiles(exampleEdge({ address: '[fd00::1]:5443', registries: [hub] }));
  t.match(contentOf(generated, `${CERTS}/docker.io/hosts.toml`), '[host."https://[fd00::1]:5443"]');
  t.match(contentOf(generated, `${CERTS}/docker.io/hosts.toml`), 'ca = "../[fd00::1]:5443/ca.crt"');
  t.end();
});
