import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import * as fc from 'fast-check';
import t from 'tap';
import { EdgeTokens } from '../../../src/access/edge/edge-tokens.ts';
import { deriveTokenKey, tokenKeys } from '../../../src/access/edge/token-key.ts';
import { seconds } from '../../../src/lib/brand.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const KEY = deriveTokenKey('not-a-secret');
const ADA = { user: 'ada', groups: ['team'], by: 'htpasswd', version: 'v1' } as const;
const SCOPES = [{ name: 'library/app', actions: ['pull'] }];

function setUp() {
  const clock = new FakeClock();
  const now = clock.now() / 1000;
  const claims = {
    iss: 'pierhead',
    aud: 'pierhead',
    sub: 'ada',
    iat: now,
    nbf: now,
    exp: now + 300,
    jti: 'one',
    access: [],
    groups: [],
    by: 'htpasswd',
  };
  return { clock, now, claims, tokens: new EdgeTokens(KEY, seconds(300), clock) };
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function signed(header: object, claims: object, key: KeyObject = tokenKeys(KEY).privateKey): string {
  const text = `${encode(header)}.${encode(claims)}`;
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

void t.test('a token says what it was given for, to every edge with the same secret', async (t) => {
  const { clock, tokens } = setUp();
  const { token } = await tokens.issue(ADA, SCOPES);
  const sibling = new EdgeTokens(deriveTokenKey('not-a-secret'), seconds(300), clock);
  const known = await sibling.verify(token);
  t.match(known, { ...ADA, scopes: SCOPES, expiresAt: clock.now() + 300_000 });
  t.equal(sibling.known(token), known, 'and needs no second look');
  t.equal(tokens.known(token), undefined, 'only what was verified here is remembered');
  const stranger = new EdgeTokens(deriveTokenKey('another secret'), seconds(300), clock);
  t.equal(await stranger.verify(token), undefined);
});

void t.test('it ends when it says, remembered or not', async (t) => {
  const { clock, tokens } = setUp();
  const { token } = await tokens.issue(ADA, []);
  await tokens.verify(token);
  await clock.advance(299_000);
  t.ok(tokens.known(token));
  await clock.advance(1000);
  t.equal(tokens.known(token), undefined);
  t.equal(await tokens.verify(token), undefined);
});

void t.test('forged, borrowed and incomplete tokens are none', async (t) => {
  const { clock, now, claims, tokens } = setUp();
  const es256 = { alg: 'ES256', typ: 'JWT' };
  t.ok(await tokens.verify(signed(es256, claims)), 'the same made by hand is good');
  const { publicKey } = tokenKeys(KEY);
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const jwk = own.publicKey.export({ format: 'jwk' });
  const hmacOf = (secret: string | Buffer): string => {
    const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  };
  const without = (claim: string): object =>
    Object.fromEntries(Object.entries(claims).filter(([name]) => name !== claim));
  const good = signed(es256, claims);
  const [header = '', payload = '', signature = ''] = good.split('.');
  const bad: Record<string, string> = {
    'alg none': `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`,
    'alg None': `${encode({ alg: 'None' })}.${encode(claims)}.`,
    'alg none with the signature': `${encode({ alg: 'none' })}.${payload}.${signature}`,
    'HS256 with the public key as PEM': hmacOf(publicKey.export({ type: 'spki', format: 'pem' })),
    'HS256 with the public key as DER': hmacOf(publicKey.export({ type: 'spki', format: 'der' })),
    'HS256 with nothing': hmacOf(''),
    'a key of its own in jwk': signed({ ...es256, jwk }, claims, own.privateKey),
    'a key of its own at jku': signed({ ...es256, jku: 'http://127.0.0.1:9/' }, claims, own.privateKey),
    'a key of its own in x5c': signed({ ...es256, x5c: ['MAo='] }, claims, own.privateKey),
    'another kid': signed({ ...es256, kid: '../../dev/null' }, claims, own.privateKey),
    'a critical header': signed({ ...es256, crit: ['b64'], b64: false }, claims),
    'an unknown critical header': signed({ ...es256, crit: ['x'], x: 1 }, claims),
    ES384: signed({ alg: 'ES384', typ: 'JWT' }, claims, p384.privateKey),
    'no typ': signed({ alg: 'ES256' }, claims),
    'another issuer': signed(es256, { ...claims, iss: 'https://issuer.example' }),
    'another audience': signed(es256, { ...claims, aud: 'registry.example' }),
    expired: signed(es256, { ...claims, exp: now }),
    'not yet valid': signed(es256, { ...claims, nbf: now + 60 }),
    'issued in the future': signed(es256, { ...claims, iat: now + 60 }),
    'exp as text': signed(es256, { ...claims, exp: String(now + 300) }),
    'access as text': signed(es256, { ...claims, access: 'repository:a:pull' }),
    'access of something': signed(es256, { ...claims, access: [null] }),
    'a name and no source': signed(es256, { ...claims, by: 'token' }),
    'a source and no name': signed(es256, { ...claims, sub: '' }),
    'claims that are a list': signed(es256, []),
    'no signature': `${header}.${payload}.`,
    'two parts': `${header}.${payload}`,
    'four parts': `${good}.x`,
    'a zero signature': `${header}.${payload}.${Buffer.alloc(64).toString('base64url')}`,
    'an empty text': '',
    dots: '..',
  };
  for (const claim of ['iss', 'aud', 'sub', 'iat', 'nbf', 'exp', 'jti', 'access', 'groups'])
    bad[`no ${claim}`] = signed(es256, without(claim));
  for (const [what, token] of Object.entries(bad)) {
    t.equal(await tokens.verify(token), undefined, what);
    t.equal(tokens.known(token), undefined, what);
  }
  t.ok(await new EdgeTokens(KEY, seconds(300), clock).verify(good));
});

void t.test('one letter changed anywhere, and it is none', async (t) => {
  const { tokens } = setUp();
  const { token } = await tokens.issue(ADA, SCOPES);
  // The last letter of a signature holds bits that say nothing.
  const place = fc.nat(token.length - 2);
  await fc.assert(
    fc.asyncProperty(place, fc.constantFrom(...Array.from('Aa09-_.')), async (at, letter) => {
      const changed = token.slice(0, at) + letter + token.slice(at + 1);
      return changed === token || (await tokens.verify(changed)) === undefined;
    }),
    { numRuns: 200 },
  );
  t.pass();
});

void t.test('the key is a scalar of the curve, by the secret alone', async (t) => {
  fc.assert(
    fc.property(fc.string(), (secret) => {
      const key = deriveTokenKey(secret);
      return key.byteLength === 32 && tokenKeys(key).publicKey.asymmetricKeyType === 'ec';
    }),
  );
  t.same(deriveTokenKey('a'), deriveTokenKey(Buffer.from('a')));
  t.notSame(deriveTokenKey('a'), deriveTokenKey('b'));
});
