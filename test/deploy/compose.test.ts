import { existsSync } from 'node:fs';
import { cp, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from '../support/free-port.ts';
import { part } from '../support/parts.ts';
import { portAnswers, runProcess, startProcess } from '../support/processes.ts';
import { TempFolder } from '../support/temp.ts';

const DEPLOY = join(import.meta.dirname, '../../deploy');

interface Service {
  readonly image: string;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly volumes?: readonly string[];
  readonly secrets?: readonly string[];
  readonly ports?: readonly string[];
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
}

const compose = parse(await readFile(join(DEPLOY, 'compose.yaml'), 'utf8')) as Compose;

/** A copy of the folder with its secrets made. */
async function installed(): Promise<TempFolder> {
  const folder = new TempFolder('deploy');
  await cp(DEPLOY, folder.path, { recursive: true });
  const { code, stderr } = await runProcess(folder.join('make-secrets.sh'), []);
  if (code !== 0) throw new Error(stderr);
  return folder;
}

void t.test('no service can gain rights, and what they mount is there', async (t) => {
  const folder = await installed();
  t.teardown(() => folder.remove());
  t.same(Object.keys(compose.services), ['pierhead', 'redis', 'prometheus', 'grafana']);
  for (const [name, service] of Object.entries(compose.services)) {
    t.same(service.cap_drop, ['ALL'], name);
    t.same(service.security_opt, ['no-new-privileges:true'], name);
    t.match(service.image, /:/, `${name} has a version`);
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':');
      if (source.startsWith('.')) t.ok(existsSync(folder.join(source)), `${name}: ${source}`);
    }
    for (const secret of service.secrets ?? [])
      t.ok(existsSync(folder.join(compose.secrets[secret]?.file ?? 'none')), `${name}: ${secret}`);
    // Prometheus, Grafana and the plain listener have no login of their own worth the name.
    for (const port of service.ports ?? []) t.match(port, /^(5443:5443|127\.0\.0\.1:)/, `${name}: ${port}`);
  }
});

void t.test('secrets are made once, and are nobody else’s on this host', async (t) => {
  const folder = await installed();
  t.teardown(() => folder.remove());
  const read = async (): Promise<string[]> =>
    await Promise.all(Object.values(compose.secrets).map(({ file }) => readFile(folder.join(file), 'utf8')));
  const before = await read();
  t.ok(before.every((secret) => secret.length >= 32));
  t.equal(new Set(before).size, before.length);
  t.equal((await stat(folder.join('secrets'))).mode & 0o777, 0o700);
  const { code, stdout, stderr } = await runProcess(folder.join('make-secrets.sh'), []);
  t.equal(code, 0, stderr);
  t.notMatch(stdout + stderr, before[0]);
  t.same(await read(), before);
});

void t.test(
  'the edge of compose.yaml runs on its configuration, with the rights that its Redis gives',
  async (t) => {
    const folder = await installed();
    t.teardown(() => folder.remove());
    const [redisPort = 0] = await freePorts(1);
    const redisConf = folder.join('secrets/redis-here.conf');
    const conf = await readFile(folder.join('secrets/redis.conf'), 'utf8');
    await writeFile(
      redisConf,
      conf.replace('port 6379', `port ${redisPort}`).replace('bind * -::*', 'bind 127.0.0.1'),
    );
    const redis = await startProcess(part('redis-server'), [redisConf], {
      cwd: folder.path,
      ready: () => portAnswers(redisPort),
    });
    t.teardown(() => redis.stop());
    const text = (await readFile(folder.join('pierhead.yaml'), 'utf8'))
      .replaceAll('/run/secrets', folder.join('secrets'))
      .replaceAll('/var/lib/pierhead', folder.join('state'))
      .replace('redis:6379', `127.0.0.1:${redisPort}`);
    await writeFile(folder.join('here.yaml'), text);
    const config = loadConfig({ file: folder.join('here.yaml'), flags: {}, env: {}, cwd: '/', cpus: 1 });
    t.equal(config.upstreams.length, 4);
    t.ok(config.redis?.secret);
    const edge = await startEdge({ workers: 2, configYaml: text });
    t.teardown(() => edge.remove());
    await eventually(async () => (await edge.metrics()).value('pierhead_redis_up') === 1);
    const checked = await runProcess(process.execPath, [
      join(import.meta.dirname, '../../src/main.ts'),
      'check',
      '--config',
      join(edge.dir, 'pierhead.yaml'),
    ]);
    t.match(checked.stdout, /^ok +redis/m, checked.stdout);
    await edge.stop();
  },
);
