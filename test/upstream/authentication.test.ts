import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import t, { type Test } from 'tap';
import { SealedTokenStore } from '../../src/upstream/sealed-token-store.ts';
import { eventually } from '../support/eventually.ts';
import { asked, failureOf, fixture, MemoryTokenStore, question, repository } from './fixture.ts';
import { reply, serve, type ScriptedServer } from './scripted-server.ts';

interface TokenRegistry {
  readonly server: ScriptedServer;
  /** What the registry takes now; each fetch makes the next one. */
  valid: string;
  /** The token service's answer to the n-th fetch. */
  answer: (response: ServerResponse, fetch: number) => void;
  /** Sends the first 401 for `manifests/late`, which waits for it. */
  held: (() => void) | undefined;
}

const CREDENTIALS = { username: 'ada', password: 'canary-password' };

/** A registry with its token service on the same server: `/token?…` gives `t1`, `t2`, … */
async function tokenRegistry(t: Test, expiresIn = 300): Promise<TokenRegistry> {
  const script = (request: IncomingMessage, response: ServerResponse): void => {
    if (request.url?.startsWith('/token') === true) {
      registry.answer(response, server.count('/token'));
    } else if (request.headers.authorization === `Bearer ${registry.valid}`) {
      reply(response, 200, {}, 'content');
    } else {
      const realm = `Bearer realm="${server.url}/token",service="registry.test",scope="repository:x:push"`;
      const deny = (): void => reply(response, 401, { 'www-authenticate': ['Negotiate', realm] }, 'denied');
      if (request.url?.endsWith('late') === true && registry.held === undefined) registry.held = deny;
      else deny();
    }
  };
  const server = await serve(t, script);
  const registry: TokenRegistry = {
    server,
    valid: '',
    held: undefined,
    answer: (response, fetch) => {
      registry.valid = `t${fetch}`;
      reply(response, 200, {}, JSON.stringify({ token: registry.valid, expires_in: expiresIn }));
    },
  };
  return registry;
}

await t.test('a token is fetched for our own scope, and kept', async (t) => {
  const { server } = await tokenRegistry(t);
  const { client, events } = fixture(t, server.url);
  t.match(await asked(client), { status: 200, body: 'content' });
  t.match(await asked(client), { status: 200, body: 'content' });
  t.same(
    server.asked.map(({ url }) => url),
    [
      '/v2/library/alpine/manifests/latest',
      '/token?service=registry.test&scope=repository%3Alibrary%2Falpine%3Apull',
      '/v2/library/alpine/manifests/latest',
      '/v2/library/alpine/manifests/latest',
    ],
  );
  t.same(server.asked[1]?.headers.authorization, undefined, 'anonymous');
  t.same(events, ['token ok', 'answered 200', 'answered 200']);
});

await t.test('credentials go to the realm as Basic, never to the registry', async (t) => {
  const { server } = await tokenRegistry(t);
  const { client } = fixture(t, server.url, { credentials: CREDENTIALS });
  t.equal((await asked(client)).status, 200);
  const basic = `Basic ${Buffer.from('ada:canary-password').toString('base64')}`;
  t.same(
    server.asked.map(({ headers }) => headers.authorization),
    [undefined, basic, 'Bearer t1'],
  );
});

await t.test('each repository has its own token', async (t) => {
  const registry = await tokenRegistry(t);
  registry.answer = (response) => {
    registry.valid = 'same';
    reply(response, 200, {}, '{"access_token":"same"}');
  };
  const { client } = fixture(t, registry.server.url);
  await asked(client);
  await asked(client, { repository: repository('library/busybox') });
  t.equal(registry.server.count('/token'), 2);
});

await t.test('one refresh, however many ask', async (t) => {
  const registry = await tokenRegistry(t);
  const { client } = fixture(t, registry.server.url);
  await asked(client);
  registry.valid = 'revoked';
  const answers = await Promise.all(Array.from({ length: 50 }, () => asked(client)));
  t.ok(answers.every(({ status }) => status === 200));
  t.equal(registry.server.count('/token'), 2);
});

await t.test('a new token that is refused too: the 401 is the answer, after one retry', async (t) => {
  const registry = await tokenRegistry(t);
  registry.answer = (response) => reply(response, 200, {}, '{"token":"useless"}');
  const { client } = fixture(t, registry.server.url);
  t.match(await asked(client), { status: 401, body: 'denied' });
  t.equal(registry.server.count('/v2'), 2);
  t.equal(registry.server.count('/token'), 1);
});

await t.test('a token service that says no: the 401 is the answer', async (t) => {
  const registry = await tokenRegistry(t);
  registry.answer = (response) => reply(response, 403);
  const { client, events } = fixture(t, registry.server.url);
  t.match(await asked(client), { status: 401, body: 'denied' });
  t.same(events, ['token failed', 'answered 401']);
});

await t.test('a token service in trouble is a failure, not a denial', async (t) => {
  const registry = await tokenRegistry(t);
  const { client } = fixture(t, registry.server.url);
  registry.answer = (response) => reply(response, 503);
  t.match(await failureOf(client.ask(question())), { kind: 'server' });
  for (const body of [
    'no json',
    '{"token":"two\\nlines"}',
    '{}',
    '[]',
    `{"token":"${'x'.repeat(70_000)}"}`,
  ]) {
    registry.answer = (response) => reply(response, 200, {}, body);
    const failure = await failureOf(client.ask(question()));
    t.match(failure, { kind: 'protocol', cause: undefined });
    t.notMatch(failure.message, /lines|json|xxx/);
  }
  registry.answer = (response) => reply(response, 302, { location: `${registry.server.url}/token/else` });
  t.match(await failureOf(client.ask(question())), { kind: 'protocol' });
  t.equal(registry.server.count('/token/else'), 0, 'the realm does not redirect');
  t.equal(client.available, true, 'the registry itself is well');
  registry.answer = (response) => reply(response, 429, { 'retry-after': '7' });
  t.match(await failureOf(client.ask(question())), { kind: 'throttled', retryAfterMs: 7000 });
  t.equal(client.available, false);
});

await t.test('with a quarter of its life left a token is refreshed, and nobody waits', async (t) => {
  const registry = await tokenRegistry(t, 100);
  const { client, clock } = fixture(t, registry.server.url);
  await asked(client);
  await clock.advance(74_000);
  await asked(client);
  t.equal(registry.server.count('/token'), 1, 'not yet');
  await clock.advance(2000);
  let held: ServerResponse | undefined;
  registry.answer = (response) => (held = response);
  t.equal((await asked(client)).status, 200);
  t.equal((await asked(client)).status, 200);
  await eventually(() => held);
  t.equal(registry.server.count('/token'), 2);
  if (held !== undefined) reply(held, 200, {}, '{"token":"t2","expires_in":100}');
  // Whether the new one has arrived or not: both are good.
  registry.valid = 't2';
  t.equal((await asked(client)).status, 200);
  t.equal(registry.server.asked.at(-1)?.headers.authorization, 'Bearer t2');
});

await t.test('a refresh behind the scenes that fails is tried again, not at once', async (t) => {
  const registry = await tokenRegistry(t, 100);
  const { client, clock, events } = fixture(t, registry.server.url);
  await asked(client);
  registry.answer = (response) => reply(response, 500);
  await clock.advance(80_000);
  await asked(client);
  await eventually(() => events.includes('token failed'));
  t.equal((await asked(client)).status, 200, 'the old one serves');
  t.equal(registry.server.count('/token'), 2);
  await clock.advance(5000);
  await asked(client);
  await eventually(() => registry.server.count('/token') === 3);
});

await t.test('without expires_in a token lives 60 s, and never longer than an hour', async (t) => {
  const registry = await tokenRegistry(t, 999_999);
  const { client, clock } = fixture(t, registry.server.url);
  await asked(client);
  await clock.advance(3_600_000);
  await asked(client);
  t.equal(registry.server.count('/token'), 2);
  registry.answer = (response, fetch) => {
    registry.valid = `t${fetch}`;
    reply(response, 200, {}, JSON.stringify({ token: registry.valid }));
  };
  await clock.advance(3_600_000);
  await asked(client);
  await clock.advance(60_000);
  await asked(client);
  t.equal(registry.server.count('/token'), 4);
});

await t.test('a token outlives the process, sealed; an expired or foreign one does not', async (t) => {
  const { server } = await tokenRegistry(t);
  const store = new MemoryTokenStore();
  const tokens = new SealedTokenStore(store, randomBytes(32));
  const first = fixture(t, server.url, {}, { tokens });
  await asked(first.client);
  await eventually(() => store.values.size === 1);
  t.notMatch(Buffer.concat([...store.values.values()]).toString('latin1'), /t1/);
  const second = fixture(t, server.url, {}, { tokens });
  t.equal((await asked(second.client)).status, 200);
  t.equal(server.count('/token'), 1, 'found in the store');
  const third = fixture(t, server.url, {}, { tokens });
  third.clock.jumpWall(third.clock.now() + 400_000);
  t.equal((await asked(third.client)).status, 200);
  t.equal(server.count('/token'), 2, 'expired');
  const other = fixture(t, server.url, { credentials: CREDENTIALS }, { tokens });
  t.equal((await asked(other.client)).status, 200);
  t.equal(server.count('/token'), 3, 'of another user');
});

await t.test('a token from the store that the registry refuses is dropped', async (t) => {
  const registry = await tokenRegistry(t);
  const tokens = new MemoryTokenStore();
  await asked(fixture(t, registry.server.url, {}, { tokens }).client);
  registry.valid = 'revoked';
  const { client } = fixture(t, registry.server.url, {}, { tokens });
  t.equal((await asked(client)).status, 401, 'the stored one was the one retry');
  t.equal((await asked(client)).status, 200);
  t.equal(registry.server.count('/token'), 2);
});

await t.test('a 401 for the old token, arriving after the refresh, causes no second one', async (t) => {
  const registry = await tokenRegistry(t);
  const broken = (): Promise<never> => Promise.reject(new Error('store is gone'));
  const { client } = fixture(
    t,
    registry.server.url,
    {},
    { tokens: { get: broken, put: broken, delete: broken } },
  );
  await asked(client);
  registry.valid = 'revoked';
  const late = asked(client, { path: 'manifests/late' });
  const release = await eventually(() => registry.held);
  t.equal((await asked(client)).status, 200);
  release();
  t.equal((await late).status, 200);
  t.equal(registry.server.count('/token'), 2);
});

await t.test('a revoked token that has no successor is not sent again', async (t) => {
  const registry = await tokenRegistry(t);
  const { client, tokens } = fixture(t, registry.server.url);
  await asked(client);
  registry.valid = 'revoked';
  registry.answer = (response) => reply(response, 403);
  t.equal((await asked(client)).status, 401);
  t.equal((await asked(client)).status, 401);
  t.equal(registry.server.asked.filter(({ headers }) => headers.authorization === 'Bearer t1').length, 2);
  t.equal(tokens.values.size, 0);
});

await t.test('a token answer without end is cut off', async (t) => {
  const registry = await tokenRegistry(t);
  registry.answer = (response) => {
    response.writeHead(200);
    response.write('x'.repeat(100_000));
  };
  const { client } = fixture(t, registry.server.url);
  t.match(await failureOf(client.ask(question())), { kind: 'protocol' });
});

await t.test('a broken token store costs a fetch', async (t) => {
  const { server } = await tokenRegistry(t);
  const broken = (): Promise<never> => Promise.reject(new Error('store is gone'));
  const { client } = fixture(t, server.url, {}, { tokens: { get: broken, put: broken, delete: broken } });
  t.equal((await asked(client)).status, 200);
});

await t.test('who stops waiting for a token does not stop the fetch for the others', async (t) => {
  const registry = await tokenRegistry(t);
  let held: ServerResponse | undefined;
  registry.answer = (response) => (held = response);
  const { client } = fixture(t, registry.server.url);
  const leaving = new AbortController();
  const left = client.ask(question({ signal: leaving.signal }));
  const stays = asked(client);
  const response = await eventually(() => held);
  leaving.abort(new Error('gone'));
  await t.rejects(left, { message: 'gone' });
  registry.valid = 't1';
  reply(response, 200, {}, '{"token":"t1"}');
  t.equal((await stays).status, 200);
  t.equal(registry.server.count('/token'), 1);
});

await t.test(
  'Basic: to the registry, from then on without a 401 first; without credentials the 401',
  async (t) => {
    const basic = `Basic ${Buffer.from('ada:canary-password').toString('base64')}`;
    const server = await serve(t, (request, response) => {
      if (request.headers.authorization === basic) reply(response, 200, {}, 'content');
      else reply(response, 401, { 'www-authenticate': 'Basic realm="x"' });
    });
    const { client } = fixture(t, server.url, { credentials: CREDENTIALS });
    t.equal((await asked(client)).status, 200);
    t.equal((await asked(client)).status, 200);
    t.equal(server.asked.length, 3);
    t.equal((await asked(fixture(t, server.url).client)).status, 401);
    const wrong = fixture(t, server.url, { credentials: { username: 'ada', password: 'wrong' } });
    t.equal((await asked(wrong.client)).status, 401);
    t.equal((await asked(wrong.client)).status, 401);
    t.equal(server.asked.length, 7);
  },
);

await t.test('what a caller shows is sent instead of our own', async (t) => {
  const { server } = await tokenRegistry(t);
  const { client } = fixture(t, server.url, { credentials: CREDENTIALS });
  t.equal((await asked(client, { showing: { authorization: 'Bearer theirs' } })).status, 401);
  t.same(
    server.asked.map(({ headers }) => headers.authorization),
    ['Bearer theirs'],
  );
});
