import { join } from 'node:path';
import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startDockerd, type Docker } from '../support/docker.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from '../support/free-port.ts';
import { randomBlob } from '../support/images.ts';
import { importStandIns, STAND_INS } from '../support/stand-in-images.ts';
import { TempFolder } from '../support/temp.ts';

const PROJECT = join(import.meta.dirname, '../..');
const IMAGE = 'pierhead:test';
const NODE = '/app/node_modules/node/bin/node';
/** How an operator runs it: nothing of the image can be written to, and the process can gain nothing. */
const CONFINED = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];

async function run(docker: Docker, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await docker.docker(...args);
  if (code !== 0) throw new Error(`docker ${args.slice(0, 2).join(' ')}: ${stderr.trim()} ${stdout.trim()}`);
  return stdout.trim();
}

void t.test('the image of the Dockerfile', { timeout: 280_000 }, async (t) => {
  const docker = await startDockerd({ mirrors: [], storageDriver: 'auto', builder: 'classic' });
  t.teardown(() => docker.stop());
  const folder = new TempFolder('stand-ins');
  t.teardown(() => folder.remove());
  await importStandIns(docker, folder);
  const bases = [`BUILD_IMAGE=${STAND_INS.build}`, `BASE_IMAGE=${STAND_INS.base}`];
  const buildArgs = bases.flatMap((base) => ['--build-arg', base]);
  await run(docker, 'build', '--network', 'host', ...buildArgs, '--tag', IMAGE, PROJECT);

  await t.test('holds no shell, no tools that only build, and names a user', async (t) => {
    const shell = await docker.docker('run', '--rm', '--network', 'none', '--entrypoint', '/bin/sh', IMAGE);
    t.equal(shell.code, 127, 'no shell');
    const inspected = JSON.parse(await run(docker, 'image', 'inspect', IMAGE)) as [
      { Config: { User: string; Healthcheck: { Test: string[] } } },
    ];
    t.equal(inspected[0].Config.User, '65532:65532');
    t.same(inspected[0].Config.Healthcheck.Test, ['CMD', NODE, '/app/dist/main.js', 'health']);
    const listing = "console.log(require('node:fs').readdirSync('/app/node_modules').join(' '))";
    const modules = await run(
      docker,
      'run',
      '--rm',
      '--network',
      'none',
      '--entrypoint',
      NODE,
      IMAGE,
      '-e',
      listing,
    );
    t.match(modules, /\blmdb\b/);
    t.notMatch(modules, /\b(typescript|tap|oxlint)\b/);
  });

  await t.test('is healthy by its own health check, and ends at SIGTERM', async (t) => {
    const often = ['--health-interval', '1s', '--health-start-period', '0s'];
    const id = await run(docker, 'run', '--detach', ...CONFINED, '--network', 'none', ...often, IMAGE);
    await eventually(
      async () => (await run(docker, 'inspect', '--format', '{{.State.Health.Status}}', id)) === 'healthy',
      { timeoutMs: 60_000 },
    );
    await run(docker, 'stop', '--time', '40', id);
    t.equal(await run(docker, 'inspect', '--format', '{{.State.ExitCode}}', id), '0');
  });

  await t.test('caches on its volume without root and with nothing else to write to', async (t) => {
    const central = await startCentral();
    t.teardown(() => central.stop());
    const blob = central.addBlob('team/app', randomBlob(3_000_000, 'image'));
    const [http = 0, admin = 0] = await freePorts(2);
    const listeners = ['--https', 'off', '--http', `127.0.0.1:${http}`, '--admin', `127.0.0.1:${admin}`];
    const serve = ['serve', ...listeners, '--upstream', central.url, '--workers', '2'];
    const url = `http://127.0.0.1:${http}/v2/team/app/blobs/${blob.digest}`;
    const pull = async (): Promise<string | undefined> => {
      const place = ['--network', 'host', '--volume', 'pierhead:/var/lib/pierhead'];
      const id = await run(docker, 'run', '--detach', ...CONFINED, ...place, IMAGE, ...serve);
      const health = ['exec', id, NODE, '/app/dist/main.js', 'health', '--admin', `127.0.0.1:${admin}`];
      await eventually(async () => (await docker.docker(...health)).code === 0, { timeoutMs: 60_000 });
      const answer = await get(url);
      await run(docker, 'rm', '--force', id);
      return answer.complete ? `sha256:${answer.sha256}` : undefined;
    };
    t.equal(await pull(), blob.digest);
    t.equal(await pull(), blob.digest);
    t.equal(central.requests('GET', 'blob'), 1, 'a new container finds what the first one stored');
  });
});
