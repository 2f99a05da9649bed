import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import t from 'tap';
import { deriveTokenKey, tokenKeys } from '../../src/access/edge/token-key.ts';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { basic, bearer, htpasswd, tokenIn } from '../support/edge-auth.ts';
import { startEdge } from '../support/edge.ts';
import { createImage } from '../support/images.ts';
import { TempFolder } from '../support/temp.ts';

const SECRET = 'the secret that all edges of the site share';
const FLOOD = 3000;
const image = createImage({ layers: [100_000] });
const BLOB = `/v2/library/app/blobs/${image.layers[0]?.digest}`;
const folder = new TempFolder('edge');
t.teardown(() => folder.remove());
const central = await startCentral();
t.teardown(() => central.stop());
central.addImage('library/app', 'latest', image);
await writeFile(folder.join('users'), await htpasswd({ ada: 'right', bob: 'right' }), { mode: 0o600 });
const edge = await startEdge({
  dir: folder.path,
  workers: 1,
  readyWithinMs: 60_000,
  config: {
    upstreams: [{ name: 'central', url: central.url, default: true }],
    // Nothing listens there: only the secret counts.
    redis: { url: 'redis://127.0.0.1:9', secret: SECRET },
    access: { allow: ['127.0.0.0/8'] },
    auth: { mode: 'edge', edge: { htpasswd: 'users' } },
  },
});
t.teardown(() => edge.stop());
const ask = (headers: Record<string, string>, path = BLOB, localAddress = '127.0.0.1') =>
  get(`${edge.http}${path}`, { headers, keepBody: true, localAddress });

void t.test('a flood of wrong passwords costs its sender, and nobody else', async (t) => {
  const known = tokenIn(await ask(basic('ada', 'right'), '/auth/token?scope=repository:library/app:pull'));
  const agent = new Agent({ keepAlive: true, maxSockets: 32, localAddress: '127.0.0.66' });
  t.teardown(() => agent.destroy());
  const statuses: (number | undefined)[] = [];
  const one = (at: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const headers = basic(at % 2 === 0 ? 'ada' : `user ${at}`, `wrong ${at}`);
      const outgoing = request(`${edge.http}/v2/`, { agent, headers }, (response) => {
        statuses.push(response.statusCode);
        response.resume().once('end', resolve);
      });
      outgoing.on('error', reject).end();
    });
  const flood = Promise.all(Array.from({ length: FLOOD }, (_, at) => one(at)));
  let pulls = 0;
  const over = flood.then(() => true);
  for (;;) {
    for (const [headers, from] of [
      [basic('ada', 'right'), '127.0.0.1'],
      [bearer(known), '127.0.0.1'],
      [basic('bob', 'right'), '127.0.0.2'],
    ] as const) {
      const answer = await ask(headers, BLOB, from);
      t.equal(answer.status, 200);
      pulls += 1;
    }
    if (await Promise.race([over, new Promise((resolve) => setImmediate(resolve, false))])) break;
  }
  t.ok(pulls >= 3);
  t.equal(statuses.length, FLOOD);
  t.same(new Set(statuses), new Set([401, 429]));
  // A hundred a minute, and those that were under way when the hundredth was found wrong.
  const checked = statuses.filter((status) => status === 401).length;
  t.ok(checked >= 100 && checked <= 140, `${checked} were looked at`);
  const refused = await ask(basic('ada', 'right'), BLOB, '127.0.0.66');
  t.equal(refused.status, 200, 'a right password that is remembered passes also from there');
  const late = await ask(basic('bob', 'wrong'), BLOB, '127.0.0.66');
  t.equal(late.status, 429);
  t.match(late.headers['retry-after'], /^[1-9]\d?$/);
});

void t.test('tokens by hand: only what the key of the site has signed is one', async (t) => {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: 'pierhead',
    aud: 'pierhead',
    sub: '',
    iat: now,
    nbf: now,
    exp: now + 60,
    jti: 'x',
    access: [],
    groups: [],
  };
  const given = JSON.parse(
    Buffer.from(
      tokenIn(await ask(basic('ada', 'right'), '/auth/token?scope=repository:library/app:pull')).split(
        '.',
      )[1] ?? '',
      'base64url',
    ).toString('utf8'),
  ) as object;
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const { privateKey, publicKey } = tokenKeys(deriveTokenKey(SECRET));
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signed = (header: object, payload: object, key = privateKey): string => {
    const text = `${encode(header)}.${encode(payload)}`;
    return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
  };
  const es256 = { alg: 'ES256', typ: 'JWT' };
  t.equal((await ask(bearer(signed(es256, given)))).status, 200, 'this is how it is made');
  const hs256 = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(given)}`;
  const pem = publicKey.export({ type: 'spki', format: 'pem' });
  const jwk = stranger.publicKey.export({ format: 'jwk' });
  const bad = {
    none: `${encode({ alg: 'none', typ: 'JWT' })}.${encode(given)}.`,
    'HS256 with the public key': `${hs256}.${createHmac('sha256', pem).update(hs256).digest('base64url')}`,
    'an embedded jwk': signed({ ...es256, jwk }, given, stranger.privateKey),
    'a jku': signed({ ...es256, jku: `${central.url}/keys` }, given, stranger.privateKey),
    'no exp': signed(es256, { ...given, exp: undefined }),
    'no iat': signed(es256, { ...given, iat: undefined }),
    'another audience': signed(es256, { ...given, aud: 'registry.example' }),
    'another issuer': signed(es256, { ...given, iss: 'issuer.example' }),
    expired: signed(es256, { ...given, exp: now - 1 }),
    'not yet valid': signed(es256, { ...given, nbf: now + 3600 }),
    'a user who is not there': signed(es256, { ...given, sub: 'mallory' }),
    'another password': signed(es256, { ...given, ver: 'x' }),
    'a certificate that is not shown': signed(es256, { ...given, by: 'certificate' }),
    'a directory that is not there': signed(es256, { ...given, by: 'ldap', ver: 'ldap' }),
    'of nobody': signed(es256, claims),
  };
  const asked = central.requests();
  for (const [what, token] of Object.entries(bad)) t.equal((await ask(bearer(token))).status, 401, what);
  t.equal(central.requests(), asked, 'no key was fetched');
  t.equal((await ask(basic('ada', 'right'))).status, 200, 'and the edge goes on');
});
