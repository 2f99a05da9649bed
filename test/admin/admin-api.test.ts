import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:tls';
import t from 'tap';
import type { Operators } from '../../src/admin/operators.ts';
import { get } from '../support/clients.ts';
import { exchange } from '../server/raw.ts';
import { tempFolder } from '../support/temp.ts';
import { TestAuthority } from '../tls/clients/authority.ts';
import { ADA, BOB, OPERATORS, startAdmin, tlsSettings } from './fixture.ts';

const STRICT = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
};
const LOOKS = ['images', 'stats', 'pins', 'health', 'certificates'];
const CHANGES = ['purge', 'pin', 'unpin', 'warm', 'reload', 'reload/certificates'];

void t.test('beyond loopback: an operator, over TLS, for all but alive and serving', async (t) => {
  const { ask, acts, url, reloads } = await startAdmin(t);
  for (const [path, text] of [
    ['/healthz', 'alive\n'],
    ['/readyz', 'serving\n'],
  ] as const) {
    const { status, content } = await ask(path);
    t.same([status, content], [200, text], `${path} is for everybody`);
  }
  const paths = ['/', '/metrics', '/metrics/', '/v2/', ...LOOKS.map((each) => `/api/v1/${each}`)];
  for (const path of paths) {
    const { status, headers, content } = await ask(path);
    t.equal(status, 401, path);
    t.same(content, { error: 'say who you are' });
    t.equal(
      headers['www-authenticate'],
      'Basic realm="pierhead admin", charset="UTF-8", Bearer realm="pierhead admin"',
    );
    const bob = await ask(path, { as: BOB });
    t.match(bob, { status: 403, content: { error: /role operator/ } }, path);
    t.equal(bob.headers['www-authenticate'], undefined, 'another password would not help');
  }
  for (const path of CHANGES.map((each) => `/api/v1/${each}`)) {
    t.equal((await ask(path, { json: {} })).status, 401, path);
    t.equal((await ask(path, { json: {}, as: BOB })).status, 403, path);
  }
  t.equal(reloads.count, 0);
  t.same(new Set(acts.map(({ decision }) => decision)), new Set(['deny']));
  t.match(acts.at(-1), { action: 'reload', user: 'bob', ip: '127.0.0.1', status: 403, reason: /operator/ });
  t.match(
    acts.filter(({ user }) => user === 'anonymous').map(({ action, status }) => `${action} ${status}`),
    ['admin 401', 'cache.purge 401', 'cache.pin 401', 'cache.unpin 401', 'warm 401', 'reload 401'],
    'strangers once each',
  );
  t.equal(
    acts.filter(({ user }) => user === 'bob').length,
    paths.length + CHANGES.length,
    'others each time',
  );
  await t.rejects(get(url.replace('https:', 'http:') + '/healthz'), 'plain HTTP is not spoken');
});

void t.test('an operator looks, and is on record by name', async (t) => {
  const { ask, acts } = await startAdmin(t);
  t.match((await ask('/metrics', { as: ADA })).content, /pierhead_up 1/);
  t.match((await ask('/api/v1/images', { as: ADA })).content, [{ repository: 'library/app', tag: 'latest' }]);
  t.match((await ask('/api/v1/stats', { as: ADA })).content, { tags: 1, indexLoaded: true });
  t.same((await ask('/api/v1/pins', { as: ADA })).content, []);
  t.match((await ask('/api/v1/health', { as: ADA })).content, {
    ready: true,
    upstreams: [{ name: 'central', available: true }],
  });
  const head = await ask('/api/v1/stats', { as: ADA, method: 'HEAD' });
  t.match(head, { status: 200, bytes: 0 });
  t.equal((await ask('/nothing', { as: ADA })).status, 404);
  t.same(
    new Set(acts.map(({ action, user, decision }) => `${action} ${user} ${decision}`)),
    new Set(['admin ada allow']),
  );
});

void t.test('an operator changes things: each is done, and on record', async (t) => {
  const { ask, acts, files, reloads } = await startAdmin(t);
  const as = ADA;
  const pinned = await ask('/api/v1/pin', { as, json: { images: ['library/app'] } });
  t.equal(pinned.headers['content-type'], 'application/x-ndjson');
  const lines = pinned.body
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string });
  t.equal(lines.at(-1)?.kind, 'done', 'told line by line');
  t.equal(pinned.headers['content-security-policy'], STRICT['content-security-policy']);
  t.match((await ask('/api/v1/pins', { as })).content, [{ image: 'central/library/app:latest' }]);
  t.match(await ask('/api/v1/purge', { as, json: { kind: 'all' } }), {
    status: 409,
    content: { error: /pinned/ },
  });
  t.ok((await files()).length > 3);
  const unpinned = await ask('/api/v1/unpin', { as, json: { images: ['library/app'] } });
  t.same(unpinned.content, [{ image: 'central/library/app:latest', was: true }]);
  t.match(await ask('/api/v1/warm', { as, json: { images: ['library/app'] } }), {
    status: 200,
    content: /"done"/,
  });
  const purged = await ask('/api/v1/purge', { as, json: { kind: 'all' } });
  t.match(purged, { status: 200, content: { tags: 1, manifests: 1, blobs: 2 } });
  t.same((await ask('/api/v1/images', { as })).content, []);
  t.match((await ask('/api/v1/reload', { as, json: {} })).content, { changed: [] });
  t.equal((await ask('/api/v1/reload/certificates', { as, json: {} })).status, 200);
  t.equal(reloads.count, 2);
  t.same(
    acts
      .filter(({ action }) => action !== 'admin')
      .map(({ action, status, reason }) => [action, status, reason]),
    [
      ['cache.pin', 200, 'central/library/app:latest'],
      ['cache.purge', 409, '{"kind":"all"}'],
      ['cache.unpin', 200, 'central/library/app:latest'],
      ['warm', 200, 'central/library/app:latest'],
      ['cache.purge', 200, '{"kind":"all"}'],
      ['reload', 200, 'all'],
      ['reload', 200, 'certificates'],
    ],
  );
  for (const act of acts)
    t.match(act, { user: 'ada', ip: '127.0.0.1', decision: 'allow', requestId: /^[0-9a-f-]{36}$/ });
});

void t.test('who may not: a token that is for pulling, whom nobody can vouch for now', async (t) => {
  const { ask, clock, reload } = await startAdmin(t);
  const limited = await ask('/metrics', { as: 'Bearer of-ada-for-pulling' });
  t.match(limited, { status: 403, content: { error: /for repositories/ } });
  for (let tries = 0; tries < 10; tries += 1)
    t.match(await ask('/metrics', { as: 'Basic down' }), { status: 503 });
  t.match(
    await ask('/metrics', { as: 'Basic down' }),
    { status: 429 },
    'it may be a guess that others denied',
  );
  await clock.advance(60_000);
  t.equal((await ask('/metrics', { as: ADA })).status, 200);
  reload({ ...OPERATORS, isOperator: () => false });
  t.equal((await ask('/metrics', { as: ADA })).status, 403, 'no longer, after a reload');
  reload({ ...OPERATORS, identifies: false });
  t.match(await ask('/metrics', { as: ADA }), { status: 403, content: { error: /auth.mode: edge/ } });
});

void t.test('bad passwords: ten a minute from an address, the right one included', async (t) => {
  const { ask, acts, clock } = await startAdmin(t);
  const guess = (n: number) => `Basic ${Buffer.from(`ada:guess ${n}`).toString('base64')}`;
  // At once, so that none has failed before the last is judged.
  const guesses = await Promise.all(Array.from({ length: 40 }, (_, n) => ask('/metrics', { as: guess(n) })));
  t.equal(guesses.filter(({ status }) => status === 401).length, 10);
  t.equal(guesses.filter(({ status }) => status === 429).length, 30);
  t.equal(acts.length, 1, 'a flood of tries is not a flood of lines');
  const right = await ask('/metrics', { as: ADA });
  t.match(right, { status: 429, headers: { 'retry-after': '60' } });
  t.equal((await ask('/metrics', { as: ADA, localAddress: '127.0.0.2' })).status, 200, 'others go on');
  t.equal((await ask('/healthz')).status, 200);
  await clock.advance(60_000);
  for (let n = 0; n < 30; n += 1)
    t.equal((await ask('/metrics', { as: ADA })).status, 200, 'the right one is no try');
  await ask('/metrics', { as: guess(0) });
  t.match(acts.at(-1), { user: 'anonymous', status: 401, reason: 'wrong name or password (9 more before)' });
});

void t.test('requests of one address are bounded, whatever they show', async (t) => {
  const { ask } = await startAdmin(t);
  for (let sent = 0; sent < 600; sent += 60)
    await Promise.all(Array.from({ length: 60 }, () => ask('/metrics')));
  t.match(await ask('/metrics', { as: ADA }), { status: 429 });
});

void t.test(
  'so are those that a page of another site has sent; the same one is on record once',
  async (t) => {
    const { ask, acts, clock } = await startAdmin(t);
    const headers = { origin: 'https://evil.example' };
    for (let sent = 0; sent < 600; sent += 60)
      await Promise.all(Array.from({ length: 60 }, () => ask('/metrics', { headers })));
    t.match(await ask('/metrics', { headers }), { status: 429 });
    t.match(acts, [{ action: 'admin', user: 'anonymous', status: 403, reason: /origin/ }]);
    t.equal((await ask('/readyz')).status, 200, 'alive and serving is said all the same');
    await clock.advance(60_000);
    t.match(await ask('/metrics', { headers }), { status: 403 });
    t.match(acts.at(-1), { reason: /origin\) \(599 more before\)$/ });
    t.equal(acts.length, 2);
  },
);

void t.test('on loopback looking has no bounds, and being refused no flood of lines', async (t) => {
  const { ask, acts } = await startAdmin(t, { host: '127.0.0.1' });
  for (let sent = 0; sent < 660; sent += 60)
    await Promise.all(Array.from({ length: 60 }, () => ask('/healthz')));
  for (let sent = 0; sent < 20; sent += 1)
    t.equal((await ask('/metrics', { headers: { host: 'evil.example' } })).status, 421);
  t.equal((await ask('/metrics')).status, 200);
  t.match(acts, [{ status: 421, user: 'anonymous' }]);
  t.equal(acts.length, 1);
});

void t.test('behind a trusted proxy a client is whom the proxy names', async (t) => {
  const access = '{ trustedProxies: [127.0.0.7], allow: [127.0.0.7, 10.0.0.0/8], deny: [10.6.6.0/24] }';
  const { ask, acts } = await startAdmin(t, { access });
  const localAddress = '127.0.0.7';
  const by = (client: string) => ({ localAddress, headers: { 'x-forwarded-for': client } });
  const wrong = `Basic ${Buffer.from('ada:wrong').toString('base64')}`;
  for (let n = 0; n < 10; n += 1)
    t.equal((await ask('/api/v1/stats', { as: wrong, ...by('10.0.0.1') })).status, 401);
  t.equal((await ask('/metrics', { as: ADA, ...by('10.0.0.1') })).status, 429);
  t.equal((await ask('/api/v1/stats', { as: ADA, ...by('10.0.0.2') })).status, 200, 'others behind it go on');
  t.match(acts, [
    { ip: '10.0.0.1', status: 401 },
    { ip: '10.0.0.2', user: 'ada', status: 200 },
  ]);
  for (const path of ['/metrics', '/healthz'])
    t.match(await ask(path, { as: ADA, ...by('10.6.6.6') }), {
      status: 403,
      content: { error: 'this client is not let in: access.allow and access.deny' },
    });
  t.match(await ask('/metrics', { as: ADA, ...by('unknown') }), { status: 403 });
  const spoofed = { as: ADA, headers: { 'x-forwarded-for': '10.0.0.9' } };
  t.equal((await ask('/api/v1/stats', spoofed)).status, 200);
  t.equal(acts.at(-1)?.ip, '127.0.0.1', 'nobody else is listened to');
});

void t.test('behind a trusted proxy on this host nobody is on this host', async (t) => {
  const access = '{ trustedProxies: [127.0.0.7], allow: [10.0.0.0/8] }';
  const { ask } = await startAdmin(t, { host: '127.0.0.1', access });
  const headers = { 'x-forwarded-for': '10.0.0.1' };
  const localAddress = '127.0.0.7';
  t.equal((await ask('/metrics')).status, 200);
  t.equal((await ask('/metrics', { localAddress, headers })).status, 401);
  t.equal((await ask('/metrics', { localAddress, headers, as: ADA })).status, 200);
  t.equal((await ask('/readyz', { localAddress, headers })).status, 200);
});

void t.test(
  'certificates are asked for from the reload that names their CA, to the one that does not',
  async (t) => {
    const authority = await TestAuthority.create(tempFolder(t, 'authority'));
    const pair = await authority.issue('/CN=ada');
    const shown: boolean[] = [];
    const operators: Operators = {
      ...OPERATORS,
      identification: {
        ...OPERATORS.identification,
        identify: ({ certificate }) => {
          shown.push(certificate !== undefined);
          return certificate && { user: 'ada', groups: [], by: 'certificate' };
        },
      },
    };
    const { ask, reload, site } = await startAdmin(t, { operators });
    t.equal((await ask('/metrics', pair)).status, 401);
    const clients = { ca: await authority.ca(), required: true };
    reload(operators, { ...tlsSettings(site), clients });
    t.equal((await ask('/metrics', pair)).status, 200);
    t.equal((await ask('/metrics')).status, 401, 'nobody has to show one');
    reload(operators);
    t.equal((await ask('/metrics', pair)).status, 401);
    t.same(shown, [false, true, false, false]);
  },
);

void t.test('garbage is answered with what is wrong, and does nothing', async (t) => {
  const { ask, acts, files } = await startAdmin(t);
  const before = await files();
  const headers = { 'content-type': 'application/json' };
  const bodies = [
    '',
    '{',
    'null',
    '[]',
    '"all"',
    '{}',
    '\xff\xfe',
    '{"__proto__":{"kind":"all"}}',
    '9'.repeat(70_000),
  ];
  for (const command of ['purge', 'pin', 'unpin', 'warm'])
    for (const body of bodies) {
      const answer = await ask(`/api/v1/${command}`, { as: ADA, headers, method: 'POST', body });
      t.match(answer, { status: 400, content: { error: /^no/ } }, `${command} ${body.slice(0, 30)}`);
    }
  t.same(await files(), before);
  t.same(acts, [], 'nothing was done');
});

void t.test('no other spelling of a path leads to a command, and none by another method', async (t) => {
  const { ask, files, reloads, url } = await startAdmin(t, { host: '127.0.0.1' });
  const before = await files();
  const body = '{"kind":"all"}';
  const head = `Host: localhost\r\nAuthorization: ${ADA}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`;
  const spellings = [
    '/api/v1//purge',
    '/api/v1/./purge',
    '/api/v1/x/../purge',
    '/api/v1/%70urge',
    '/api/v1%2fpurge',
    '/api/v1/purge/',
    '/api/v1/purge%00',
    '/api/v1/purge;x',
    '/api/v1\\purge',
    '/api/v1/PURGE',
    '/api/v1/../v1/purge',
    '//api/v1/purge',
    '/api/purge',
    '/purge',
    '/api/v1/__proto__',
    '/api/v1/constructor',
    '/api/v2/purge',
  ];
  for (const path of spellings) {
    const { answers } = await exchange(url, `POST ${path} HTTP/1.1\r\n${head}\r\n\r\n${body}`, {
      answers: 1,
    });
    t.match(String(answers[0]?.status), /^40[045]$/, path);
  }
  for (const command of CHANGES)
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'QUERY']) {
      const path = `/api/v1/${command}?kind=all&images=library/app`;
      const answer = await ask(path, { as: ADA, method, headers: { 'content-type': 'application/json' } });
      t.match(answer, { status: 405, headers: { allow: 'POST' } }, `${method} ${command}`);
    }
  t.same(await files(), before);
  t.equal(reloads.count, 0);
});

void t.test('each answer forbids browsers everything, also of what is not HTTP', async (t) => {
  const { ask, url } = await startAdmin(t, { host: '127.0.0.1' });
  const paths = ['/', '/healthz', '/metrics', '/api/v1/images', '/api/v1/nothing'];
  const answers = await Promise.all([
    ...paths.map((path) => ask(path)),
    ask('/api/v1/purge', { json: {} }),
    ask('/metrics', { method: 'POST' }),
    ask('/metrics', { headers: { expect: 'the-moon' } }),
    ask('/metrics', { headers: { host: 'evil.example' } }),
  ]);
  for (const { status, headers } of answers) t.match(headers, STRICT, `${status}`);
  const host = 'Host: localhost\r\n';
  for (const [bytes, status] of [
    ['junk\r\n\r\n', 400],
    [`GET /metrics HTTP/1.1\r\n${host}X: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    [`GET /metrics HTTP/1.1\r\n${host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`, 400],
    ['GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    [`GET /metrics HTTP/1.1\r\n${host}Host: evil.example\r\nConnection: close\r\n\r\n`, 400],
    [`GET http://localhost/metrics HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, 404],
  ] as const) {
    const { answers } = await exchange(url, bytes);
    t.equal(answers.length, 1);
    t.match(answers[0], { status, headers: STRICT }, bytes.slice(0, 60));
  }
});

void t.test('a reload brings another certificate, and open connections end with their answer', async (t) => {
  const { ask, url, site, reload } = await startAdmin(t);
  const { port } = new URL(url);
  const idle = connect({ port: Number(port), host: '127.0.0.1', ca: site.ca });
  idle.on('error', () => undefined);
  await once(idle, 'secureConnect');
  idle.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await once(idle, 'data');
  const closed = once(idle, 'close');
  const next = site.pair('127.0.0.1');
  reload(OPERATORS, { ...tlsSettings(site), ...next });
  idle.resume();
  await closed;
  const fresh = connect({ port: Number(port), host: '127.0.0.1', ca: site.ca });
  await once(fresh, 'secureConnect');
  t.equal(fresh.getPeerX509Certificate()?.fingerprint256, new X509Certificate(next.cert).fingerprint256);
  fresh.destroy();
  t.equal((await ask('/healthz')).status, 200);
});
