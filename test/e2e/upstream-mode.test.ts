import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hash } from 'bcrypt';
import t from 'tap';
import { get, type Answer } from '../support/clients.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd, type Docker } from '../support/docker.ts';
import { startEdge, type Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage, pushImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRedis } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { skopeoCopy } from '../support/skopeo.ts';
import { tempFolder } from '../support/temp.ts';
import { startTokenServer } from '../support/token-server.ts';
import { digestsOf, fetchesOf, leavesNothing } from './branch.ts';

const LINUX = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' };
const IMAGE = createImage({ layers: [400_000, 3000], platform: LINUX, seed: 'private' });
const NAME = 'team/app';
const [ADA, BOB] = ['canary-of-ada', 'canary-of-bob'];
const ALL = ['pull', 'push', 'delete'];

function passing(registry: Registry, freshness: object = {}, extra: object = {}): Promise<Edge> {
  const upstreams = [{ name: 'central', url: registry.url, default: true, push: true }];
  return startEdge({
    workers: 2,
    config: { upstreams, auth: { mode: 'upstream' }, freshness, log: { level: 'trace' }, ...extra },
    readyWithinMs: 60_000,
  });
}

function ask(edge: Edge, path: string, authorization?: string): Promise<Answer> {
  const headers = authorization === undefined ? {} : { authorization };
  return get(`${edge.http}/v2/${path}`, { headers, keepBody: true });
}

/** All that a client can tell one answer from another by. */
function seen({ status, headers, body }: Answer): unknown {
  const { date: _, 'x-request-id': __, ...rest } = headers;
  return { status, headers: rest, body: body.toString() };
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

async function login(docker: Docker, edge: Edge, user: string, password: string): Promise<number | null> {
  const { host } = new URL(edge.http);
  const args = ['login', '--username', user, '--password', password, host];
  return (await docker.docker(...args)).code;
}

void t.test(
  'a registry with tokens: who may not see a private image does not, and the others push and pull',
  { skip: missing('docker-registry', 'dockerd', 'containerd', 'ctr', 'skopeo') },
  async (t) => {
    await using tokens = await startTokenServer({
      ada: { password: ADA, may: () => ALL },
      bob: { password: BOB, may: (name) => (name.startsWith('team/') ? [] : ALL) },
    });
    await using registry = await startRegistry({ token: tokens.auth });
    const may = await tokens.bearer('ada', `repository:${NAME}:pull,push`);
    await pushImage(registry.url, NAME, 'v1', IMAGE, { authorization: may });
    await using edge = await passing(registry);
    const { host } = new URL(edge.http);
    await using docker = await startDockerd({ mirrors: [] });
    const name = `${host}/${NAME}:v1`;

    await t.test('docker', async (t) => {
      t.not((await docker.docker('pull', name)).code, 0, 'nobody');
      t.not(await login(docker, edge, 'ada', 'wrong'), 0, 'a wrong password does not log in');
      t.equal(await login(docker, edge, 'ada', ADA), 0);
      await docker.pull(name);
      t.equal(await docker.imageId(name), IMAGE.imageId);
      t.same(
        await fetchesOf(registry, digestsOf(IMAGE)),
        IMAGE.blobs.map(() => 1),
      );
      await docker.remove(name);
      await docker.pull(name);
      t.same(
        await fetchesOf(registry, digestsOf(IMAGE)),
        IMAGE.blobs.map(() => 1),
        'warm: no blob is transferred',
      );
      await docker.docker('tag', name, `${host}/team/pushed:v2`);
      const pushed = await docker.docker('push', `${host}/team/pushed:v2`);
      t.equal(pushed.code, 0, pushed.stderr);
      await docker.remove(name);
      await docker.remove(`${host}/team/pushed:v2`);
      await docker.pull(`${host}/team/pushed:v2`);
      await docker.remove(`${host}/team/pushed:v2`);

      t.equal(await login(docker, edge, 'bob', BOB), 0, 'he has an account');
      const denied = await docker.docker('pull', name);
      const absent = await docker.docker('pull', `${host}/team/none:v1`);
      t.not(denied.code, 0);
      t.equal(denied.stderr.replaceAll(NAME, 'X'), absent.stderr.replaceAll('team/none', 'X'));
    });

    await t.test('skopeo, both ways', async (t) => {
      const dir = tempFolder(t, 'copied');
      const plain = { srcTlsVerify: false, destTlsVerify: false };
      const from = `docker://${name}`;
      const ada = { ...plain, srcCredentials: `ada:${ADA}` };
      const got = await skopeoCopy(from, `dir:${dir}`, ada);
      t.equal(got.code, 0, got.stderr);
      const put = await skopeoCopy(`dir:${dir}`, `docker://${host}/team/copied:v1`, {
        ...plain,
        destCredentials: `ada:${ADA}`,
      });
      t.equal(put.code, 0, put.stderr);
      const back = await skopeoCopy(`docker://${host}/team/copied:v1`, `dir:${tempFolder(t)}`, ada);
      t.equal(back.code, 0, back.stderr);
      const bob = { ...plain, srcCredentials: `bob:${BOB}` };
      t.not((await skopeoCopy(from, `dir:${tempFolder(t)}`, bob)).code, 0);
    });

    await t.test('ctr', async (t) => {
      await using containerd = await startContainerd();
      const pull = (...user: string[]): ReturnType<typeof containerd.ctr> =>
        containerd.ctr('images', 'pull', '--snapshotter', 'native', '--plain-http', ...user, name);
      t.not((await pull()).code, 0);
      t.not((await pull('--user', `bob:${BOB}`)).code, 0);
      t.equal(await containerd.imageDigest(name), undefined);
      const pulled = await pull('--user', `ada:${ADA}`);
      t.equal(pulled.code, 0, pulled.stderr);
      t.equal(await containerd.imageDigest(name), IMAGE.digest);
      await containerd.remove(name);
    });

    await t.test('what he is answered is what he is answered for what is not there', async (t) => {
      const scope = 'repository:team/app:pull repository:team/nnn:pull';
      const bob = await tokens.bearer('bob', scope);
      for (const shown of [bob, undefined]) {
        for (const path of [
          'manifests/v1',
          `manifests/${IMAGE.digest}`,
          ...digestsOf(IMAGE).map((digest) => `blobs/${digest}`),
          'tags/list',
        ]) {
          const [there, not] = await Promise.all(
            ['team/app', 'team/nnn'].map((repository) => ask(edge, `${repository}/${path}`, shown)),
          );
          if (there === undefined || not === undefined) throw new Error('two answers');
          t.equal(there.status, 401);
          const text = JSON.stringify(seen(there)).replaceAll('team/app', 'team/nnn');
          t.equal(text, JSON.stringify(seen(not)), path);
        }
      }
      t.equal((await ask(edge, '_catalog', await tokens.bearer('ada', 'registry:catalog:*'))).status, 403);
    });

    const lines = edge.logs().filter(({ msg }) => msg === 'request');
    const of = (user: string): typeof lines => lines.filter((line) => line['user'] === user);
    for (const method of ['GET', 'PUT'])
      t.ok(
        of('ada').some((line) => line['method'] === method),
        method,
      );
    t.same(
      of('bob').filter(({ repository }) => repository !== undefined),
      [],
      'he is nobody where he was not let in',
    );
    const { body } = await get(`${edge.admin}/metrics`, { keepBody: true });
    t.match(body.toString(), /pierhead_verdicts_total\{[^}]*outcome="allowed"/);
    t.notMatch(`${edge.output}${body.toString()}`, /canary-of|eyJ/, 'no password and no token');
    await leavesNothing(t, edge);
  },
);

void t.test(
  'a registry with passwords: revoked, and away',
  { skip: missing('docker-registry', 'dockerd', 'redis-server') },
  async (t) => {
    const htpasswd = join(tempFolder(t), 'htpasswd');
    const line = async (user: string, password: string): Promise<string> =>
      `${user}:${await hash(password, 4)}\n`;
    const both = `${await line('ada', ADA)}${await line('bob', BOB)}`;
    await writeFile(htpasswd, both);
    await using registry = await startRegistry({ htpasswd });
    const [ada, wrong] = [basic('ada', ADA), basic('ada', BOB)];
    await pushImage(registry.url, NAME, 'v1', IMAGE, { authorization: ada });
    await using redis = await startRedis();
    const shared = {
      redis: { url: redis.url, secret: 'secret-of-the-site-0123456789abcdef', timeout: '1s' },
    };
    await using strict = await passing(registry, { verdict: '2s' }, shared);
    await using lenient = await passing(registry, { verdict: '2s', verdictGrace: '1h', tag: '1h' }, shared);
    const blob = `${NAME}/blobs/${digestsOf(IMAGE)[0]}`;

    await t.test('docker', async (t) => {
      await using docker = await startDockerd({ mirrors: [] });
      const name = `${new URL(lenient.http).host}/${NAME}:v1`;
      t.not((await docker.docker('pull', name)).code, 0);
      t.not(await login(docker, lenient, 'ada', BOB), 0);
      t.equal(await login(docker, lenient, 'ada', ADA), 0);
      await docker.pull(name);
      await docker.remove(name);
      await registry.stop();
      await docker.pull(name);
      t.equal(await docker.imageId(name), IMAGE.imageId, 'during an outage too, with a grace');
      await docker.remove(name);
      await registry.start();
    });

    for (const edge of [strict, lenient]) {
      await eventually(async () => (await ask(edge, blob, ada)).status === 200, { what: () => edge.output });
      t.equal((await ask(edge, blob, wrong)).status, 401);
      const anonymous = await ask(edge, '');
      t.equal(anonymous.status, 401);
      t.match(anonymous.headers['www-authenticate'], /^Basic realm="/);
      t.equal((await ask(edge, '', ada)).status, 200);
      t.equal((await ask(edge, '', wrong)).status, 401);
    }

    t.notMatch((await redis.dump()).toString('latin1'), /canary|YWRhOmNh|team\/app/);
    await registry.stop();
    await eventually(async () => (await ask(strict, blob, ada)).status === 404, {
      what: () => strict.output,
    });
    t.equal((await ask(strict, `${NAME}/manifests/v1`, ada)).status, 503);
    t.equal((await ask(strict, '')).status, 401, 'the door is known');
    t.equal((await ask(lenient, blob, ada)).status, 200);
    t.equal((await ask(lenient, `${NAME}/manifests/v1`, ada)).status, 200);
    t.not((await ask(lenient, blob, basic('bob', BOB))).status, 200, 'no verdict, no grace');

    await writeFile(htpasswd, await line('bob', BOB));
    await registry.start();
    for (const edge of [strict, lenient]) {
      // Connections of their own land on one worker or the other.
      const refused = async (): Promise<boolean> =>
        (await Promise.all(Array.from({ length: 8 }, () => ask(edge, blob, ada)))).every(
          ({ status }) => status === 401,
        );
      await eventually(refused, { what: () => edge.output, timeoutMs: 30_000 });
      await leavesNothing(t, edge);
    }
  },
);
