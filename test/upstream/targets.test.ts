import type { LookupFunction } from 'node:net';
import t, { type Test } from 'tap';
import { eventually } from '../support/eventually.ts';
import { asked, failureOf, fixture, PUBLIC_ADDRESS, question } from './fixture.ts';
import { reply, serve, type ScriptedServer } from './scripted-server.ts';

/** Names as DNS has them, each call taking the next answer and the last one staying. */
function dns(names: Record<string, string[]>): LookupFunction {
  return (hostname, options, callback) => {
    const answers = names[hostname] ?? [];
    const address = answers.length > 1 ? answers.shift() : answers[0];
    if (address === undefined) callback(new Error(`ENOTFOUND ${hostname}`), '', 0);
    else if (options.all === true) callback(null, [{ address, family: 4 }]);
    else callback(null, address, 4);
  };
}

const upstreamAt = (t: Test, address: string, headers: Record<string, string>, status: number) =>
  serve(t, (_, response) => reply(response, status, headers), { address });

const victim = (t: Test, options = {}): Promise<ScriptedServer> =>
  serve(t, (_, response) => reply(response, 200, {}, '{"token":"stolen"}'), options);

const CREDENTIALS = { username: 'ada', password: 'canary-password' };

await t.test('foreign, loopback and metadata realms are never asked (CVE-2026-33540)', async (t) => {
  const target = await victim(t);
  const lookup = dns({
    localhost: ['127.0.0.1'],
    'inside.test': ['127.0.0.1'],
    'metadata.test': ['169.254.169.254'],
  });
  const realms = [
    `http://127.0.0.1:${target.port}/token`,
    `http://[::ffff:7f00:1]:${target.port}/token`,
    `http://0x7f.1:${target.port}/token`,
    `http://2130706433:${target.port}/token`,
    `http://localhost:${target.port}/token`,
    `http://inside.test:${target.port}/token`,
    `http://metadata.test:${target.port}/token`,
    'http://169.254.169.254/latest/meta-data',
    `http://foreign.test:${target.port}/token`,
    'file:///etc/passwd',
    'nonsense',
  ];
  for (const authHosts of [
    [],
    ['127.0.0.1', '[::ffff:7f00:1]', 'localhost', 'inside.test', 'metadata.test'],
  ]) {
    for (const realm of realms) {
      const challenge = `Bearer realm="${realm}",service="s"`;
      const server = await upstreamAt(t, PUBLIC_ADDRESS, { 'www-authenticate': challenge }, 401);
      const { client } = fixture(t, server.url, { authHosts, credentials: CREDENTIALS }, { lookup });
      const failure = await failureOf(client.ask(question()));
      t.match(failure, { kind: 'protocol' }, realm);
      t.notMatch(failure.message, /canary/);
    }
  }
  t.same(target.asked, []);
});

await t.test('a realm on a listed host is asked, on the own host too; http only under http', async (t) => {
  const target = await victim(t, { address: PUBLIC_ADDRESS, name: 'auth.test' });
  const lookup = dns({ 'auth.test': [PUBLIC_ADDRESS] });
  const challenge = { 'www-authenticate': `Bearer realm="${target.url}/token",service="s"` };
  const server = await upstreamAt(t, PUBLIC_ADDRESS, challenge, 401);
  for (const authHosts of [['auth.test'], [target.host]]) {
    const { client } = fixture(t, server.url, { authHosts, credentials: CREDENTIALS }, { lookup });
    t.equal((await asked(client)).status, 401);
  }
  t.equal(target.count('/token'), 2);
  t.match(target.asked[0]?.headers.authorization, /^Basic /);
});

await t.test('DNS that changes its mind after the check gets nothing (rebinding)', async (t) => {
  const target = await victim(t);
  const lookup = dns({ 'auth.test': ['127.0.0.1'], 'cdn.test': ['127.0.0.1'] });
  const realm = `http://auth.test:${target.port}/token`;
  const server = await upstreamAt(t, PUBLIC_ADDRESS, { 'www-authenticate': `Bearer realm="${realm}"` }, 401);
  const { client } = fixture(t, server.url, { authHosts: ['auth.test'] }, { lookup });
  t.match(await failureOf(client.ask(question())), { kind: 'protocol' });
  const location = `http://cdn.test:${target.port}/blob`;
  const redirecting = await upstreamAt(t, PUBLIC_ADDRESS, { location }, 307);
  const second = fixture(t, redirecting.url, {}, { lookup });
  t.match(await failureOf(second.client.ask(question())), { kind: 'protocol' });
  t.same(target.asked, []);
});

await t.test('the upstream’s own name, rebound to this machine, is not followed', async (t) => {
  const target = await victim(t);
  const server = await serve(t, (_, response) => reply(response, 200, { connection: 'close' }), {
    address: PUBLIC_ADDRESS,
  });
  const lookup = dns({ 'registry.test': [PUBLIC_ADDRESS, '127.0.0.1'] });
  const { client } = fixture(t, [`http://registry.test:${server.port}`], {}, { lookup });
  t.equal((await asked(client)).status, 200);
  t.match(await failureOf(client.ask(question())), { kind: 'unreachable', message: /loopback/ });
  t.same(target.asked, []);
});

await t.test(
  'a redirect to another host, port or name carries no credentials (CVE-2020-15157)',
  async (t) => {
    const target = await serve(t, (_, response) => reply(response, 200, {}, 'blob'));
    const lookup = dns({ 'registry.test': ['127.0.0.1'], 'cdn.test': ['127.0.0.1'] });
    for (const host of [target.host, `cdn.test:${target.port}`]) {
      for (const status of [301, 302, 303, 307, 308]) {
        const server = await upstreamAt(
          t,
          '127.0.0.1',
          { location: `http://${host}/b?signature=canary` },
          status,
        );
        const { client } = fixture(t, `http://registry.test:${server.port}`, {}, { lookup });
        const headers = { cookie: 'canary', Range: 'bytes=3-' };
        const showing = { authorization: 'Bearer canary' };
        t.match(await asked(client, { headers, showing, path: 'blobs/x' }), { status: 200, body: 'blob' });
        t.equal(server.asked[0]?.headers.authorization, 'Bearer canary');
      }
    }
    t.equal(target.asked.length, 10);
    for (const { headers, url, method } of target.asked) {
      t.match(headers, { authorization: undefined, cookie: undefined, range: 'bytes=3-' });
      t.equal(`${method} ${url}`, 'GET /b?signature=canary');
    }
  },
);

await t.test('within the origin the credentials stay; once away and back they do not', async (t) => {
  const away = await serve(t, (_, response) => reply(response, 302, { location: `${server.url}/end` }));
  const server = await serve(t, (request, response) => {
    if (request.url === '/end') reply(response, 200, {}, 'end');
    else if (request.url === '/away') reply(response, 302, { location: `${away.url}/x` });
    else reply(response, 302, { location: request.url?.includes('there') === true ? '/away' : '/end' });
  });
  const { client } = fixture(t, server.url);
  const showing = { authorization: 'Bearer canary' };
  t.match(await asked(client, { showing }), { body: 'end' });
  t.equal(server.asked.at(-1)?.headers.authorization, 'Bearer canary');
  t.match(await asked(client, { showing, path: 'blobs/there' }), { body: 'end' });
  t.equal(server.asked.at(-1)?.headers.authorization, undefined);
});

await t.test('three redirects are followed, not four; HEAD stays HEAD', async (t) => {
  const server = await serve(t, (request, response) => {
    const left = Number(request.url?.split('/').at(-1));
    if (left === 0) reply(response, 200, { 'content-length': '4' });
    else reply(response, 307, { location: `/x/${left - 1}` });
  });
  const { client } = fixture(t, server.url);
  t.match(await asked(client, { method: 'HEAD', path: 'blobs/3' }), { status: 200 });
  t.ok(server.asked.every(({ method }) => method === 'HEAD'));
  t.match(await failureOf(client.ask(question({ path: 'blobs/4' }))), { kind: 'protocol' });
  t.equal(server.asked.length, 8);
});

await t.test(
  'a redirect from a public upstream to an inner address is refused, unless allowed',
  async (t) => {
    const target = await serve(t, (_, response) => reply(response, 200, {}, 'inner'));
    const lookup = dns({ 'inner.test': ['127.0.0.1'] });
    const inner = [
      `http://127.0.0.1:${target.port}/?sig=canary`,
      `http://[::ffff:127.0.0.1]:${target.port}/?sig=canary`,
      `http://inner.test:${target.port}/?sig=canary`,
      'http://169.254.169.254/?sig=canary',
      'http://10.0.0.1/?sig=canary',
      'ftp://10.0.0.1/',
      'http://',
    ];
    for (const location of inner) {
      const server = await upstreamAt(t, PUBLIC_ADDRESS, { location }, 307);
      const failure = await failureOf(fixture(t, server.url, {}, { lookup }).client.ask(question()));
      t.match(failure, { kind: 'protocol' }, location);
      t.notMatch(`${failure.message} ${String(failure.cause)}`, /canary/);
    }
    t.same(target.asked, []);
    const location = `http://inner.test:${target.port}/`;
    const server = await upstreamAt(t, PUBLIC_ADDRESS, { location }, 307);
    const { client } = fixture(t, server.url, { allowedRedirectHosts: ['Inner.test'] }, { lookup });
    t.match(await asked(client), { body: 'inner' });
  },
);

await t.test('an upstream on this machine may redirect on this machine, not to metadata', async (t) => {
  const target = await serve(t, (_, response) => reply(response, 200, {}, 'blob'));
  const near = await upstreamAt(t, '127.0.0.1', { location: `${target.url}/b` }, 307);
  t.match(await asked(fixture(t, near.url).client), { body: 'blob' });
  const bad = await upstreamAt(t, '127.0.0.1', { location: 'http://169.254.169.254/' }, 307);
  t.match(await failureOf(fixture(t, bad.url).client.ask(question())), { kind: 'protocol' });
});

await t.test(
  'storage that turns a signature away is no denial, and the retry gets a new location',
  async (t) => {
    const storage = await serve(t, (request, response) =>
      reply(response, request.url === '/b?2' ? 200 : 403, {}, 'blob'),
    );
    const server = await serve(t, (_, response, n) =>
      reply(response, 307, { location: `${storage.url}/b?${n}` }),
    );
    const { client, clock } = fixture(t, server.url);
    const answer = asked(client, { attempts: 2 });
    await eventually(() => clock.sleeping === 1);
    await clock.advance(100);
    t.match(await answer, { status: 200, body: 'blob' });
    t.equal(server.asked.length, 2);
  },
);
