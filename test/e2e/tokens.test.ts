import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startCentral } from '../support/central.ts';
import { herd } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';
import { tempFolder } from '../support/temp.ts';

const PASSWORD = 'canary-password-4711';

void t.test('a token service: one token per scope, and no secret in clear anywhere', async (t) => {
  const users = { robot: PASSWORD };
  const central = await startCentral({ auth: { mode: 'token', tokenTtlSeconds: 60, users } });
  t.teardown(() => central.stop());
  const images = new Map(
    ['team/a', 'team/b'].map((name) => [name, createImage({ layers: [200_000, 300_000], seed: name })]),
  );
  for (const [name, image] of images) central.addImage(name, 'v1', image);
  const dir = tempFolder(t, 'tokens');
  const passwordFile = join(dir, 'password');
  await writeFile(passwordFile, `${PASSWORD}\n`, { mode: 0o600 });
  const credentials = { username: 'robot', password: { file: passwordFile } };
  const edge = await startEdge({
    workers: 2,
    config: { upstreams: [{ name: 'central', url: central.url, credentials }], log: { level: 'trace' } },
  });
  t.teardown(() => edge.remove());
  for (const [name, image] of images) {
    const paths = [`manifests/v1`, ...image.blobs.map(({ digest }) => `blobs/${digest}`)];
    const answers = await Promise.all(paths.map((path) => herd(`${edge.http}/v2/${name}/${path}`, 20)));
    t.ok(answers.flat().every(({ status, complete }) => status === 200 && complete));
    t.equal(central.door?.tokenRequests(`repository:${name}:pull`), 1, `one token for ${name}`);
  }
  const bearers = central.log
    .map(({ headers }) => headers.authorization ?? '')
    .filter((value) => value.startsWith('Bearer '));
  const basics = central.log
    .map(({ headers }) => headers.authorization ?? '')
    .filter((value) => value.startsWith('Basic '));
  const secrets = new Set([
    PASSWORD,
    ...bearers.map((value) => value.slice(7)),
    ...basics.map((value) => value.slice(6)),
  ]);
  t.ok(secrets.size >= 4, 'the password, two tokens, and the password as it was sent');
  await eventually(() => edge.output.includes('"msg":"request"'));
  const metrics = JSON.stringify((await edge.metrics()).samples);
  await edge.stop();
  const everywhere = [edge.output, metrics, ...(await contentsBelow(join(edge.dir, 'data')))];
  for (const secret of secrets)
    t.notOk(
      everywhere.some((text) => text.includes(secret)),
      'not in clear',
    );

  await edge.restart();
  central.forget();
  const [answer] = await herd(`${edge.http}/v2/team/a/manifests/latest`, 1);
  t.equal(answer?.status, 404);
  t.equal(
    central.door?.tokenRequests('repository:team/a:pull'),
    1,
    'the kept token is used again after a restart',
  );
  await edge.stop();
});

async function contentsBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return await Promise.all(files.map((entry) => readFile(join(entry.parentPath, entry.name), 'latin1')));
}
