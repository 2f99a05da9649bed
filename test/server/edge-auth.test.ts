import { readFile, writeFile } from 'node:fs/promises';
import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get, type GetOptions } from '../support/clients.ts';
import { basic, bearer, htpasswd, reloadWith, tokenIn } from '../support/edge-auth.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';
import { TempFolder } from '../support/temp.ts';

const MANIFEST = '/v2/library/app/manifests/latest';
const PULL = 'repository:library/app:pull';
const image = createImage({ layers: [200_000] });
const BLOB = `/v2/library/app/blobs/${image.layers[0]?.digest}`;
const ada = basic('ada', 'correct horse');

const folder = new TempFolder('edge');
t.teardown(() => folder.remove());
const central = await startCentral();
t.teardown(() => central.stop());
for (const name of ['library/app', 'library/other']) central.addImage(name, 'latest', image);
const users = await htpasswd({ ada: 'correct horse', bob: 'b', eve: 'e' });
await writeFile(folder.join('users'), users, { mode: 0o600 });
const config = (token: object): object => ({
  upstreams: [{ name: 'central', url: central.url, default: true, catalog: true }],
  auth: { mode: 'edge', edge: { htpasswd: 'users', token } },
  audit: { to: 'audit.log' },
});
const edge = await startEdge({
  dir: folder.path,
  workers: 2,
  config: config({}),
  readyWithinMs: 60_000,
});
t.teardown(() => edge.stop());

const ask = (path: string, headers: Record<string, string> = {}, rest: GetOptions = {}) =>
  get(`${edge.http}${path}`, { keepBody: true, headers, ...rest });
const tokenFor = async (scope: string, headers = ada): Promise<string> =>
  tokenIn(await ask(`/auth/token?service=pierhead&scope=${scope}`, headers));

void t.test('who shows nothing learns on every route how to say who they are', async (t) => {
  const realm = `Bearer realm="${edge.http}/auth/token",service="pierhead"`;
  const routes: [path: string, method: string, challenge: string][] = [
    ['/v2/', 'GET', realm],
    ['/v2/', 'HEAD', realm],
    ['/v2/_catalog', 'GET', realm],
    [MANIFEST, 'HEAD', `${realm},scope="${PULL}"`],
    [BLOB, 'GET', `${realm},scope="${PULL}"`],
    ['/v2/library/app/tags/list', 'GET', `${realm},scope="${PULL}"`],
    [MANIFEST, 'PUT', `${realm},scope="repository:library/app:pull,push"`],
    [MANIFEST, 'DELETE', `${realm},scope="repository:library/app:delete"`],
    ['/v2/library/app/blobs/uploads/', 'POST', `${realm},scope="repository:library/app:pull,push"`],
  ];
  for (const [path, method, challenge] of routes)
    for (const headers of [{}, { authorization: 'Basic Og==' }]) {
      const answer = await ask(path, headers, { method });
      t.equal(answer.status, 401, `${method} ${path}`);
      t.equal(answer.headers['www-authenticate'], challenge, `${method} ${path}`);
    }
  const odd = await ask('/v2/', { host: 'edge"\\example' });
  t.same([odd.status, odd.headers['www-authenticate']], [400, undefined], 'no host, no realm');
  t.equal(central.requests(), 0, 'nobody was asked anything for strangers');
});

void t.test('names and passwords open what there is; wrong and malformed ones nothing', async (t) => {
  for (const path of ['/v2/', MANIFEST, BLOB, '/v2/library/app/tags/list'])
    t.equal((await ask(path, ada)).status, 200, path);
  const bad = [
    basic('ada', 'wrong'),
    basic('mallory', 'correct horse'),
    basic('', 'correct horse'),
    { authorization: 'Basic' },
    { authorization: 'Basic !!!' },
    { authorization: 'Digest username="ada"' },
    bearer('not.a.token'),
    bearer('x'),
  ];
  for (const headers of bad) {
    const answer = await ask(BLOB, headers);
    t.equal(answer.status, 401, JSON.stringify(headers));
    t.match(answer.headers['www-authenticate'], /^Bearer realm=.*scope="repository:library\/app:pull"/);
  }
});

void t.test('a token opens what it was given for', async (t) => {
  const answer = await ask(`/auth/token?service=pierhead&account=ada&offline_token=true&scope=${PULL}`, ada);
  t.equal(answer.headers['cache-control'], 'no-store');
  const given = JSON.parse(answer.body.toString('utf8')) as Record<string, unknown>;
  t.match(given, { expires_in: 300, access_token: given['token'], issued_at: /^\d{4}-.*Z$/, scope: PULL });
  t.notOk('refresh_token' in given);
  const token = bearer(tokenIn(answer));
  for (const path of ['/v2/', MANIFEST, BLOB, '/v2/library/app/tags/list'])
    t.equal((await ask(path, token)).status, 200, path);
  // On a connection each, so that both workers see it.
  const asked = Array.from({ length: 12 }, async () => (await ask(MANIFEST, token)).status);
  t.same(new Set(await Promise.all(asked)), new Set([200]));
  const elsewhere = await ask('/v2/library/other/manifests/latest', token);
  t.equal(elsewhere.status, 401);
  const insufficient = /scope="repository:library\/other:pull",error="insufficient_scope"$/;
  t.match(elsewhere.headers['www-authenticate'], insufficient);
  const removal = await ask(MANIFEST, token, { method: 'DELETE' });
  t.match(removal.headers['www-authenticate'], /app:delete",error="insufficient_scope"$/);
  t.equal((await ask(`/auth/token?scope=${PULL}`, token)).status, 401, 'a token gives no other token');

  const login = bearer(await tokenFor(''));
  t.equal((await ask('/v2/', login)).status, 200);
  t.equal((await ask(MANIFEST, login)).status, 401, 'a login alone opens nothing else');
});

void t.test('the catalog shows a token what it is for', async (t) => {
  const catalog = async (scope: string): Promise<unknown> => {
    const { status, body } = await ask('/v2/_catalog', bearer(await tokenFor(scope)));
    return [status, JSON.parse(body.toString('utf8'))];
  };
  const all = ['central/library/app', 'central/library/other'];
  const [, whole] = (await catalog('registry:catalog:*')) as [number, { repositories: string[] }];
  t.equal(whole.repositories.length, all.length);
  t.same(await catalog(''), [200, { repositories: [] }]);
  const [name = ''] = whole.repositories;
  t.same(await catalog(`repository:${name}:pull`), [200, { repositories: [name] }]);
});

void t.test('the token service: by GET, by POST, and what it refuses', async (t) => {
  const post = (form: Record<string, string>) =>
    ask(
      '/auth/token',
      { 'content-type': 'application/x-www-form-urlencoded' },
      { method: 'POST', body: new URLSearchParams(form).toString() },
    );
  const password = { grant_type: 'password', username: 'ada', password: 'correct horse', service: 'x' };
  const token = tokenIn(await post({ ...password, scope: `${PULL} repository:b:pull`, client_id: 'c' }));
  t.equal((await ask(MANIFEST, bearer(token))).status, 200);
  const refused = await post({ ...password, password: 'wrong' });
  t.equal(refused.status, 401);
  t.match(refused.headers['www-authenticate'], /^Basic /);
  t.equal((await post({ ...password, grant_type: 'refresh_token', refresh_token: 'x' })).status, 400);
  t.equal((await post({})).status, 400);
  const scope = Array.from({ length: 101 }, (_, at) => `repository:a${at}:pull`).join(' ');
  t.equal((await post({ ...password, scope })).status, 400);
  t.equal((await ask('/auth/token')).status, 401, 'nobody may do anything here');
  t.equal((await ask('/auth/token', basic('ada', 'wrong'))).status, 401);
  t.equal((await ask('/auth/token', ada, { method: 'DELETE' })).status, 405);
  t.equal((await ask('/auth/token/', ada)).status, 404);
  t.equal((await ask('/auth/tokens', ada)).status, 404);
  const tooLong = await post({ ...password, filler: 'x'.repeat(20_000) }).catch(() => undefined);
  t.ok(tooLong === undefined || tooLong.status === 400);
});

void t.test('logins are on record, and metrics count them', async (t) => {
  const logins = async (): Promise<Record<string, unknown>[]> =>
    (await readFile(folder.join('audit.log'), 'utf8'))
      .split('\n')
      .filter((line) => line.includes('"login"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const headers = { 'x-forwarded-for': '192.0.2.1' };
  const before = (await logins()).length;
  await tokenFor(PULL);
  // From an address that was not refused yet: the same refusal is told once a minute.
  const localAddress = '127.0.0.9';
  await ask('/auth/token', { ...basic('ada', 'wrong'), ...headers }, { localAddress });
  await eventually(
    async () =>
      (await logins()).length >= before + 2 && (await logins()).some(({ ip }) => ip === localAddress),
  );
  const lines = await logins();
  const by = (decision: string) => lines.findLast((line) => line['decision'] === decision);
  t.match(by('allow'), { user: 'ada', reason: 'htpasswd', status: 200, ip: '127.0.0.1' });
  t.match(by('deny'), { user: 'anonymous', reason: 'UNAUTHORIZED', status: 401, ip: localAddress });
  const metrics = await edge.metrics();
  for (const outcome of ['accepted', 'refused'])
    t.ok(metrics.value('pierhead_identified_total', { outcome }) > 0, outcome);
});

void t.test('without the token service Basic is asked for', async (t) => {
  await reloadWith(edge, 'pierhead.yaml', JSON.stringify(config({ enabled: false })));
  const answer = await ask(MANIFEST);
  t.equal(answer.headers['www-authenticate'], 'Basic realm="pierhead", charset="UTF-8"');
  t.equal((await ask('/auth/token', ada)).status, 404);
  t.equal((await ask(MANIFEST, ada)).status, 200);
});

void t.test(
  'a reload: who is gone, or has another password, is out at once, with their tokens',
  async (t) => {
    const realm = 'https://edge.example/auth/token';
    await reloadWith(edge, 'pierhead.yaml', JSON.stringify(config({ realm })));
    t.match((await ask('/v2/')).headers['www-authenticate'], `realm="${realm}"`);
    const passwords = { bob: basic('bob', 'b'), eve: basic('eve', 'e') };
    const tokens = {
      ada: bearer(await tokenFor(PULL)),
      bob: bearer(await tokenFor(PULL, passwords.bob)),
      eve: bearer(await tokenFor(PULL, passwords.eve)),
    };
    for (const headers of [ada, passwords.bob, passwords.eve, ...Object.values(tokens)])
      for (let at = 0; at < 2; at += 1) t.equal((await ask(MANIFEST, headers)).status, 200);
    const adas = `${users.split('\n')[0]}\n`;
    await reloadWith(edge, 'users', adas + (await htpasswd({ eve: 'changed' })));
    for (let at = 0; at < 4; at += 1) {
      t.equal((await ask(MANIFEST, ada)).status, 200);
      t.equal((await ask(MANIFEST, tokens.ada)).status, 200, 'a token outlasts a reload');
      for (const headers of [passwords.bob, tokens.bob, passwords.eve, tokens.eve])
        t.equal((await ask(MANIFEST, headers)).status, 401);
    }
    t.match((await ask(MANIFEST, tokens.bob)).headers['www-authenticate'], /error="invalid_token"$/);
    await t.rejects(reloadWith(edge, 'users', 'ada:plain\n'));
    t.equal((await ask(MANIFEST, tokens.ada)).status, 200, 'a broken file changes nothing');
    await reloadWith(edge, 'users', adas);
    await edge.restart();
    t.equal((await ask(MANIFEST, tokens.ada)).status, 200, 'and neither does a restart');
  },
);
