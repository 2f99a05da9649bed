import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { tempFolder } from '../support/temp.ts';
import { pierhead } from './pierhead.ts';

interface Printed {
  readonly files: { readonly path: string; readonly content: string }[];
  readonly notes: string[];
  readonly warnings: string[];
  readonly written?: unknown;
}

const cwd = tempFolder(t, 'client-config');
writeFileSync(
  join(cwd, 'pierhead.yaml'),
  `tls: { names: [edge.example] }
upstreams:
  - { name: docker.io, url: "https://registry-1.docker.io", default: true }
  - { name: ghcr.io, url: "https://ghcr.io" }
`,
);
const CONFIG = ['--config', 'pierhead.yaml'];

async function succeeds(t: Test, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await pierhead(['client-config', ...args, ...CONFIG], cwd);
  t.same({ code, stderr }, { code: 0, stderr: '' }, args.join(' '));
  return stdout;
}

void t.test('before there are certificates: exit 1, and what makes them', async (t) => {
  const { code, stdout, stderr } = await pierhead(['client-config', 'docker', ...CONFIG], cwd);
  t.same({ code, stdout }, { code: 1, stdout: '' });
  t.match(
    stderr,
    /^pierhead: .*server\.crt is not there yet: run "pierhead certs init" or start the edge once/,
  );
});

void t.test('every client: what is printed is what JSON says and what is written', async (t) => {
  const made = await pierhead(['certs', 'init', ...CONFIG], cwd);
  t.match(made, {
    code: 0,
    stdout: 'pierhead client-config docker|containerd|podman|buildkit --config pierhead.yaml',
  });
  const ca = readFileSync(join(cwd, 'certs/ca.crt'), 'utf8');
  for (const client of ['docker', 'containerd', 'podman', 'buildkit']) {
    const root = tempFolder(t);
    const printed = JSON.parse(await succeeds(t, client, '--json', '--write', root)) as Printed;
    const { files, notes, warnings } = printed;
    t.same(warnings, []);
    t.equal(files.at(-1)?.content, ca, 'the CA included');
    for (const { path, content } of files) t.equal(readFileSync(join(root, path), 'utf8'), content, path);
    const outcomes = files.map(({ path }) => ({ file: join(root, path), outcome: 'written' }));
    t.same(printed.written, outcomes);
    const blocks = files.map(({ path, content }) => `==> ${path} <==\n${content}`.trimEnd());
    t.equal(await succeeds(t, client), `${[...blocks, ...notes].join('\n\n')}\n`);
  }
});

void t.test('an existing daemon.json: added to, or refused by name', async (t) => {
  const root = tempFolder(t);
  const file = join(root, 'etc/docker/daemon.json');
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, '{ "debug": true }');
  t.match(await succeeds(t, 'docker', '--write', root), `merged     ${file} (before: ${file}.bak)\n`);
  t.same(JSON.parse(readFileSync(file, 'utf8')), {
    debug: true,
    'registry-mirrors': ['https://edge.example:5443'],
  });
  writeFileSync(file, '{ "debug": true, }');
  const refused = await pierhead(['client-config', 'docker', '--write', root, ...CONFIG], cwd);
  t.equal(refused.code, 1);
  t.match(refused.stderr, /^pierhead: nothing was written:\n +.*daemon\.json is not JSON.*--force/);
  t.equal(readFileSync(file, 'utf8'), '{ "debug": true, }');
  const result = JSON.parse(await succeeds(t, 'docker', '--json', '--force', '--write', root)) as object;
  t.match(result, {
    written: [{ file, outcome: 'replaced', backup: `${file}.bak.1` }, { outcome: 'unchanged' }],
  });
});

void t.test('the address, the listener and the CA can be said', async (t) => {
  t.match(await succeeds(t, 'docker', '--https', '10.0.0.5:7443'), '"https://edge.example:7443"');
  t.match(await succeeds(t, 'docker', '--plain', '--http', '0.0.0.0:80'), '"http://edge.example:80"');
  const key = readFileSync(join(cwd, 'certs/ca.key'), 'utf8');
  writeFileSync(join(cwd, 'both.pem'), key + readFileSync(join(cwd, 'certs/ca.crt'), 'utf8'));
  const said = ['--host', 'edge.example:443', '--ca', 'both.pem', '--json'];
  const { files } = JSON.parse(await succeeds(t, 'docker', ...said)) as Printed;
  t.match(files[0]?.content, '"https://edge.example:443"');
  t.equal(files.at(-1)?.content, readFileSync(join(cwd, 'certs/ca.crt'), 'utf8'), 'never a key');
});

void t.test('doubts are told on standard error, and in JSON', async (t) => {
  const args = ['client-config', 'docker', '--host', 'stranger', '--json', ...CONFIG];
  const { code, stdout, stderr } = await pierhead(args, cwd);
  t.equal(code, 0);
  t.match(stderr, /^warning: .*server\.crt is not valid for stranger/);
  t.match(JSON.parse(stdout), { edge: 'https://stranger:5443', warnings: [/not valid for stranger/] });
});

void t.test('what is not understood: exit 2, and what to do', async (t) => {
  for (const [args, hint] of [
    [[], /missing required argument 'client'/],
    [['dockre'], /'dockre' is invalid.*docker, containerd, podman, buildkit/],
    [['docker', '--force'], /--force .* needs --write DIR/],
    [['docker', '--host', 'a b'], /--host: got "a b"; takes NAME, NAME:PORT/],
    [['docker', '--https', 'off'], /listen\.https is off: .*--plain/],
    [['docker', '--ca', 'certs/ca.key'], /--ca: .* is not a file with PEM certificates/],
    [['podman', '--host', '[::1]:5443'], /podman takes no IPv6 address/],
  ] as const) {
    const { code, stdout, stderr } = await pierhead(['client-config', ...args, ...CONFIG], cwd);
    t.same({ code, stdout }, { code: 2, stdout: '' }, args.join(' '));
    t.match(stderr, hint, args.join(' '));
    t.notMatch(stderr, /^ +at /m, 'no stack');
  }
});
