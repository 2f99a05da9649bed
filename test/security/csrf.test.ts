import { join } from 'node:path';
import t, { type Test } from 'tap';
import { controlOf } from '../../src/admin/control-client.ts';
import { ADA, startAdmin, type Admin } from '../admin/fixture.ts';
import { serveImage, warm } from '../server/fixture.ts';
import { get } from '../support/clients.ts';

// XSS and CSRF: a page of another site asks through the browser of somebody who may, with what that browser sends along.
const PURGE = '{"kind":"all"}';
const JSON_TYPE = { 'content-type': 'application/json' };

type Headers = Readonly<Record<string, string>>;

/** What a browser can be made to send by another site: a form, a script, a link, a name that leads elsewhere by now. */
function forgeries(own: string): [what: string, headers: Headers][] {
  const scheme = own.split(':')[0];
  const host = own.replace(/^https?:\/\//, '');
  const port = host.split(':')[1];
  const other = scheme === 'https' ? 'http' : 'https';
  return [
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['a form with files', { 'content-type': 'multipart/form-data; boundary=x' }],
    ['a form of text', { 'content-type': 'text/plain' }],
    ['a form of text that looks like JSON', { 'content-type': 'text/plain; application/json' }],
    ['a script without a type', {}],
    ['a type that is nearly it', { 'content-type': 'application/json-patch+json' }],
    ['two types', { 'content-type': 'application/json, text/plain' }],
    ['another origin', { ...JSON_TYPE, origin: 'https://evil.example' }],
    ['no origin to speak of', { ...JSON_TYPE, origin: 'null' }],
    ['the origin of another scheme', { ...JSON_TYPE, origin: `${other}://${host}` }],
    ['the origin of another port', { ...JSON_TYPE, origin: `${scheme}://127.0.0.1:1` }],
    ['an origin that begins alike', { ...JSON_TYPE, origin: `${own}.evil.example` }],
    ['an origin that ends alike', { ...JSON_TYPE, origin: `${scheme}://evil-${host}` }],
    ['another site', { ...JSON_TYPE, 'sec-fetch-site': 'cross-site' }],
    ['a sibling of the site', { ...JSON_TYPE, 'sec-fetch-site': 'same-site' }],
    ['an address that was typed', { ...JSON_TYPE, 'sec-fetch-site': 'none' }],
    ['an unknown site', { ...JSON_TYPE, 'sec-fetch-site': 'elsewhere' }],
    [
      'a rebound name',
      { ...JSON_TYPE, host: `evil.example:${port}`, origin: `${scheme}://localhost:${port}` },
    ],
  ];
}

/** The same, where nothing but the name could tell: the page was loaded from there. */
function rebound(own: string): [what: string, headers: Headers][] {
  const { protocol, port } = new URL(own);
  const names = [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '127.0.0.1.',
    '0.0.0.0',
    '128.0.0.1',
    '[::2]',
    '[::1].evil.example',
    'localhost@evil.example',
  ];
  return names.map((name) => [
    `rebound: ${name}`,
    {
      ...JSON_TYPE,
      host: `${name}:${port}`,
      origin: `${protocol}//${name}:${port}`,
      'sec-fetch-site': 'same-origin',
    },
  ]);
}

async function refusesAll(t: Test, admin: Admin, all: [what: string, headers: Headers][]): Promise<void> {
  const before = await admin.files();
  for (const [what, headers] of all) {
    const answer = await admin.ask('/api/v1/purge', { as: ADA, method: 'POST', headers, body: PURGE });
    t.match(answer.status, what.startsWith('rebound') ? 421 : /^4(03|21)$/, what);
    t.equal(answer.headers['access-control-allow-origin'], undefined);
  }
  t.same(await admin.files(), before, 'nothing was purged');
  t.equal(admin.acts.filter(({ decision }) => decision === 'allow').length, 0);
  const reasons = admin.acts.filter(({ action }) => action === 'cache.purge').map(({ reason }) => reason);
  t.ok(reasons.length > 0, 'it is on record');
  t.equal(new Set(reasons).size, reasons.length, 'once for each reason');
}

void t.test('with the password of an operator, and yet from another site: beyond loopback', async (t) => {
  const admin = await startAdmin(t);
  await refusesAll(t, admin, forgeries(admin.url));
  const own = { ...JSON_TYPE, origin: admin.url, 'sec-fetch-site': 'same-origin' };
  const answer = await admin.ask('/api/v1/purge', { as: ADA, method: 'POST', headers: own, body: PURGE });
  t.match(answer, { status: 200, content: { tags: 1 } }, 'a page of its own could');
});

void t.test('the same on loopback, where a name of the attacker can be made to lead', async (t) => {
  const admin = await startAdmin(t, { host: '127.0.0.1' });
  await refusesAll(t, admin, [...forgeries(admin.url), ...rebound(admin.url)]);
  for (const path of ['/metrics', '/api/v1/images', '/api/v1/stats', '/'])
    for (const [what, headers] of rebound(admin.url))
      t.equal((await admin.ask(path, { headers })).status, 421, `${path} ${what}`);
  for (const path of ['/metrics', '/api/v1/images'])
    for (const headers of [{ 'sec-fetch-site': 'cross-site' }, { origin: 'https://evil.example' }])
      t.equal((await admin.ask(path, { headers })).status, 403, path);
  const { port } = new URL(admin.url);
  for (const host of [
    `localhost:${port}`,
    `LOCALHOST:${port}`,
    `[::1]:${port}`,
    `127.1.2.3:${port}`,
    'localhost',
  ])
    t.equal((await admin.ask('/metrics', { headers: { host } })).status, 200, host);
  t.equal((await admin.ask('/metrics', { headers: { 'sec-fetch-site': 'none' } })).status, 200, 'typed');
});

void t.test('before anybody is asked for a name: a preflight is not told yes', async (t) => {
  const admin = await startAdmin(t);
  const headers = {
    origin: 'https://evil.example',
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,content-type',
  };
  const { status, headers: answered } = await admin.ask('/api/v1/purge', { method: 'OPTIONS', headers });
  t.equal(status, 403);
  t.same(
    Object.keys(answered).filter((name) => name.startsWith('access-control')),
    [],
  );
});

void t.test('an edge as it comes lets nobody change anything over the network', async (t) => {
  const served = await serveImage([4000]);
  await warm(served);
  const { edge } = served;
  const control = controlOf(join(edge.dir, 'data/v1/control.sock'));
  const api = `${edge.admin}/api/v1`;
  for (const [command, body] of [
    ['purge', PURGE],
    ['pin', '{"images":["library/app"]}'],
    ['unpin', '{"images":["library/app"]}'],
    ['warm', '{"images":["library/app"]}'],
    ['reload', '{}'],
    ['reload/certificates', '{}'],
  ] as const) {
    const answer = await get(`${api}/${command}`, {
      method: 'POST',
      headers: JSON_TYPE,
      body,
      keepBody: true,
    });
    t.equal(answer.status, 403, command);
    t.match(answer.body.toString(), /control socket; or set auth.mode: edge/, 'and what to do');
  }
  t.equal((await control.images()).length, 1);
  t.same(await control.pins(), []);
  const images = await get(`${api}/images`, { keepBody: true });
  t.match(
    JSON.parse(images.body.toString()),
    [{ repository: 'library/app', tag: 'latest' }],
    'looking is free here',
  );
  const health = await get(`${api}/health`, { keepBody: true });
  t.same(JSON.parse(health.body.toString()), {
    ready: true,
    workers: 2,
    upstreams: [{ name: 'central', available: true }],
  });
  const certificates = await get(`${api}/certificates`, { keepBody: true });
  t.match(JSON.parse(certificates.body.toString()), [
    { name: 'server', names: /localhost/, fingerprint256: /^[0-9A-F:]{95}$/ },
    { name: 'ca' },
  ]);
});
