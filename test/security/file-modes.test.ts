import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { reloadsOf } from '../../src/admin/control-client.ts';
import { loadConfig } from '../../src/config/load.ts';
import { pierhead } from '../cli/pierhead.ts';
import { startEdge } from '../support/edge.ts';
import { runProcess } from '../support/processes.ts';
import { freePorts } from '../support/free-port.ts';
import { tempFolder, type Teardown } from '../support/temp.ts';

// Modes: who can change what an edge goes by commands it, and who can read its secrets is the edge.
const CANARY = 'c4nary-of-a-file';
const YAML = `upstreams: [{ name: central, url: 'http://127.0.0.1:9', credentials: { username: ada, password: { file: secret } } }]`;

/** A folder that every user gets to, with a configuration and the secret that it names. */
function site(t: Teardown): string {
  const folder = tempFolder(t, 'modes');
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, 'secret'), CANARY, { mode: 0o600 });
  writeFileSync(join(folder, 'pierhead.yaml'), YAML, { mode: 0o600 });
  return folder;
}

void t.test('what every user can change: no start, and check says what to do', async (t) => {
  const [http = 0] = await freePorts(1);
  const args = [
    '--config',
    'pierhead.yaml',
    '--http',
    `127.0.0.1:${http}`,
    '--https',
    'off',
    '--admin',
    'off',
  ];
  for (const name of ['secret', 'data']) {
    const folder = site(t);
    mkdirSync(join(folder, 'data'), { mode: 0o755 });
    chmodSync(join(folder, name), name === 'data' ? 0o777 : 0o606);
    const started = await pierhead(['serve', ...args], folder);
    t.match(started, { code: 2 }, name);
    t.match(started.stderr, `${join(folder, name)} can be changed by every user of this machine: chmod o-w`);
    t.notMatch(started.stderr + started.stdout, CANARY);
    if (name !== 'secret') continue;
    const checked = await pierhead(['check', ...args], folder);
    t.equal(checked.code, 1);
    t.match(checked.stdout, /^fail +files +.* can be changed by every user/m);
  }
});

void t.test(
  'what every user can read is told at the start, and a reload takes nothing that they can change',
  async (t) => {
    const folder = site(t);
    chmodSync(join(folder, 'secret'), 0o644);
    const edge = await startEdge({ dir: folder, configYaml: YAML, workers: 1 });
    t.teardown(() => edge.remove());
    t.match(
      edge.logs().filter(({ level }) => level === 'warn'),
      [
        {
          msg: `${join(folder, 'secret')} holds a secret that every user of this machine can read: chmod o-r `,
        },
      ],
    );
    t.notMatch(edge.output, CANARY);
    chmodSync(join(folder, 'secret'), 0o666);
    const control = reloadsOf(join(folder, 'data/v1/control.sock'));
    await t.rejects(control.reload(), { message: /secret can be changed by every user/ });
    chmodSync(join(folder, 'secret'), 0o600);
    await control.reload();
    await edge.stop();
  },
);

void t.test(
  'a FIFO, a device or a folder in the place of a secret is no secret, and nobody waits for it',
  async (t) => {
    const folder = site(t);
    t.equal((await runProcess('mkfifo', [join(folder, 'fifo')])).code, 0);
    for (const name of ['fifo', '/dev/zero', '/dev/null', '.']) {
      const yaml = YAML.replace('file: secret', `file: ${name}`);
      writeFileSync(join(folder, 'pierhead.yaml'), yaml, { mode: 0o600 });
      const load = () => loadConfig({ file: 'pierhead.yaml', flags: {}, env: {}, cwd: folder, cpus: 1 });
      t.throws(load, { message: /credentials\.password: .*(is no file|is a folder)/ }, name);
    }
  },
);
