import { generateKeyPair, exportSPKI, SignJWT, exportJWK, UnsecuredJWT } from 'jose';
import t, { type Test } from 'tap';
import { OidcSource } from '../../../src/access/directory/oidc-source.ts';
import { SourceUnavailable } from '../../../src/access/sources.ts';
import type { OidcConfig } from '../../../src/config/access/access-config.ts';
import { ms } from '../../../src/lib/brand.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { DISCOVERY, json, JWKS, startOidcIssuer, type OidcIssuer } from '../../support/oidc-issuer.ts';
import { SourceLog } from '../../support/source-log.ts';

const ADA = { user: 'ada', groups: [], by: 'oidc' };
const SECOND = 1000;
const HOUR = 3600 * SECOND;

interface Parts {
  readonly issuer: OidcIssuer;
  readonly clock: FakeClock;
  readonly open: (more?: Partial<OidcConfig>, timeoutMs?: number) => { source: OidcSource; log: SourceLog };
}

async function setUp(t: Test): Promise<Parts> {
  const clock = new FakeClock();
  const issuer = await startOidcIssuer(() => clock.now());
  t.teardown(() => issuer[Symbol.asyncDispose]());
  return {
    issuer,
    clock,
    open: (more = {}, timeoutMs = 20_000) => {
      const log = new SourceLog();
      const config = {
        issuer: issuer.issuer,
        audience: 'pierhead',
        userClaim: 'sub',
        groupsClaim: 'groups',
        ca: issuer.ca,
      };
      const source = new OidcSource({ ...config, ...more }, clock, log, { timeout: ms(timeoutMs) });
      t.teardown(() => source.close());
      return { source, log };
    },
  };
}

void t.test('who a token says it is', async (t) => {
  const { issuer, open } = await setUp(t);
  const { source, log } = open();
  t.strictSame(await source.check(await issuer.token()), ADA);
  t.strictSame(
    await source.check(
      await issuer.token({ aud: ['other', 'pierhead'], groups: ['crew', 7, 'a\nb', 'crew', 'quay'] }),
    ),
    {
      ...ADA,
      groups: ['crew', 'quay'],
    },
  );
  t.strictSame(await source.check(await issuer.token({ groups: 'crew' })), { ...ADA, groups: ['crew'] });
  t.match(
    await source.check(
      await issuer.token({ groups: Array.from({ length: 5000 }, (_, at) => `g${at}`).slice(0, 1500) }),
    ),
    {
      groups: { length: 1000 },
    },
  );
  t.strictSame(await source.check(await issuer.token({}, { typ: 'at+jwt' })), ADA);
  t.strictSame(log.lines, [`oidc ${issuer.issuer} up`]);
  t.strictSame(issuer.requests, [DISCOVERY, JWKS], 'asked once for all of them');
});

void t.test('the claims that name the user', async (t) => {
  const { issuer, open } = await setUp(t);
  const { source, log } = open({ userClaim: 'email', groupsClaim: 'https://corp/groups' });
  const claims = { email: 'ada@corp', 'https://corp/groups': ['crew'] };
  t.strictSame(await source.check(await issuer.token(claims)), {
    user: 'ada@corp',
    groups: ['crew'],
    by: 'oidc',
  });
  t.equal(await source.check(await issuer.token({ ...claims, email_verified: false })), undefined);
  for (const email of [undefined, '', 7, ['ada@corp'], 'a\u0000b', 'x'.repeat(256)])
    t.equal(await source.check(await issuer.token({ email })), undefined);
  t.match(log.lines[1], /address that the issuer has not verified/);
  t.match(log.lines[2], /a token has no email \(auth\.edge\.oidc\.userClaim\)/);
});

void t.test('every algorithm that signs', async (t) => {
  const { issuer, clock, open } = await setUp(t);
  for (const alg of ['RS256', 'PS384', 'ES384', 'ES512', 'EdDSA']) {
    await issuer.rotate(alg);
    await clock.advance(31 * SECOND);
    t.strictSame(await open().source.check(await issuer.token()), ADA, alg);
  }
});

void t.test('tokens that are not good', async (t) => {
  const { issuer, clock, open } = await setUp(t);
  await issuer.rotate('RS256', true);
  const { source } = open();
  const now = Math.floor(clock.now() / SECOND);
  const claims: [why: string, claims: object][] = [
    ['another audience', { aud: 'other' }],
    ['no audience', { aud: undefined }],
    ['another issuer', { iss: 'https://elsewhere.example' }],
    ['an issuer with a slash more', { iss: `${issuer.issuer}/` }],
    ['no issuer', { iss: undefined }],
    ['no end', { exp: undefined }],
    ['no beginning', { iat: undefined }],
    ['over for more than a minute', { exp: now - 61 }],
    ['not yet good', { nbf: now + 61 }],
    ['made in the future', { iat: now + 61 }],
    ['an end that is no number', { exp: '9999999999' }],
  ];
  for (const [why, more] of claims)
    t.equal(await source.check(await issuer.token({ ...more })), undefined, why);
  t.strictSame(
    await source.check(await issuer.token({ exp: now - 55, nbf: now + 55, iat: now + 55 })),
    ADA,
    'clocks differ a little',
  );

  const good = await issuer.token();
  const [header = '', payload = '', signature = ''] = good.split('.');
  const body = { iss: issuer.issuer, aud: 'pierhead', sub: 'root', iat: now, exp: now + 300 };
  const stranger = await generateKeyPair('RS256', { extractable: true });
  const kid = issuer.publicJwk.kid ?? '';
  const byStranger = (more: object) =>
    new SignJWT(body).setProtectedHeader({ alg: 'RS256', kid, ...more }).sign(stranger.privateKey);
  const byPublicKey = await new SignJWT(body)
    .setProtectedHeader({ alg: 'HS256', kid })
    .sign(Buffer.from(await exportSPKI(issuer.publicKey)));
  const forged: [why: string, token: string][] = [
    ['no signature', new UnsecuredJWT(body).encode()],
    ['alg none over a good payload', `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`],
    ['the public key as a secret', byPublicKey],
    ['a stranger with the key id of the issuer', await byStranger({})],
    [
      'a stranger with a key of their own inside',
      await byStranger({ jwk: await exportJWK(stranger.publicKey) }),
    ],
    [
      'a stranger who says where the key is',
      await byStranger({ jku: 'https://127.0.0.1:1/keys', x5u: 'https://127.0.0.1:1/c' }),
    ],
    ['another payload', `${header}.${Buffer.from(JSON.stringify(body)).toString('base64url')}.${signature}`],
    ['a logout token', await issuer.token({}, { typ: 'logout+jwt' })],
    ['five parts', `${good}.a.b`],
    ['two parts', `${header}.${payload}`],
    ['nothing', ''],
    ['no base64', '!.!.!'],
    ['no JSON', 'AAAA.AAAA.AAAA'],
    ['longer than any', `${header}.${payload}${'A'.repeat(20_000)}.${signature}`],
    [
      'a header with __proto__',
      `${Buffer.from('{"alg":"RS256","__proto__":{"kid":1}}').toString('base64url')}.${payload}.${signature}`,
    ],
  ];
  for (const [why, token] of forged) t.equal(await source.check(token), undefined, why);
  t.strictSame(await source.check(good), ADA);
  const { source: fresh } = open();
  for (const token of [
    new UnsecuredJWT(body).encode(),
    byPublicKey,
    await issuer.token({ iss: 'https://a' }),
  ])
    t.equal(await fresh.check(token), undefined);
  t.strictSame(issuer.requests, [DISCOVERY, JWKS], 'none of them made the edge ask anybody');
});

void t.test('keys are replaced', async (t) => {
  const { issuer, clock, open } = await setUp(t);
  const { source, log } = open();
  const old = await issuer.token({ exp: 9_999_999_999 });
  t.strictSame(await source.check(old), ADA);
  await issuer.rotate('ES256', true);
  const fresh = await issuer.token({ exp: 9_999_999_999 });
  t.equal(await source.check(fresh), undefined, 'the issuer was asked a moment ago');
  await clock.advance(30 * SECOND);
  t.strictSame(await source.check(fresh), ADA, 'a key that is not known: the issuer is asked');
  t.strictSame(await source.check(old), ADA);
  t.equal(issuer.requests.length, 4);

  await issuer.rotate();
  const strangers = await Promise.all(
    Array.from({ length: 20 }, (_, at) => issuer.token({}, { kid: `unknown-${at}` })),
  );
  await clock.advance(30 * SECOND);
  for (const token of strangers) t.equal(await source.check(token), undefined);
  t.equal(issuer.requests.length, 6, 'once for all that nobody knows');
  t.equal(await source.check(old), undefined, 'a key that the issuer has taken back');
  t.strictSame(await source.check(await issuer.token()), ADA);

  const last = await issuer.token({ exp: 9_999_999_999 });
  await issuer.rotate();
  await clock.advance(10 * 60 * SECOND);
  t.equal(
    await source.check(last),
    undefined,
    'taken back, and noticed after ten minutes without any new token',
  );
  t.strictSame(log.lines, [`oidc ${issuer.issuer} up`]);
});

void t.test('an issuer that is down', async (t) => {
  const { issuer, clock, open } = await setUp(t);
  const { source, log } = open();
  t.strictSame(await source.check(await issuer.token()), ADA);
  await issuer.stop();
  await clock.advance(HOUR);
  t.strictSame(await source.check(await issuer.token()), ADA, 'by its last keys');
  t.match(log.lines, [
    /up$/,
    /down https:\/\/127\.0\.0\.1:\d+\/\.well-known\/openid-configuration: ECONNREFUSED$/,
  ]);
  const unknown = await issuer.token({}, { kid: 'unknown' });
  await t.rejects(source.check(unknown), SourceUnavailable, 'whether it is good cannot be said');

  const late = open();
  await t.rejects(late.source.check(await issuer.token()), {
    name: 'SourceUnavailable',
    message: /cannot be asked for its keys: .*ECONNREFUSED/,
  });
  await t.rejects(late.source.check(await issuer.token()), SourceUnavailable);
  t.equal(late.log.lines.length, 1);

  await clock.advance(22.9 * HOUR);
  t.strictSame(await source.check(await issuer.token()), ADA);
  await clock.advance(HOUR);
  await t.rejects(source.check(await issuer.token()), SourceUnavailable, 'not for longer than a day');

  await issuer.start();
  await clock.advance(5 * SECOND);
  t.strictSame(await source.check(await issuer.token()), ADA);
  t.strictSame(await late.source.check(await issuer.token()), ADA);
  t.match(log.lines.at(-1), /up$/);
});

void t.test('while it is down it is asked now and then, and nobody waits who need not', async (t) => {
  const { issuer, clock, open } = await setUp(t);
  const { source } = open();
  await source.check(await issuer.token());
  let asked = 0;
  issuer.answer(DISCOVERY, (response) => {
    asked += 1;
    response.writeHead(500).end();
  });
  await clock.advance(11 * 60 * SECOND);
  for (let at = 0; at < 10; at += 1) t.strictSame(await source.check(await issuer.token()), ADA);
  t.equal(asked, 1);
  let ended = 0;
  issuer.answer(DISCOVERY, (response) => {
    asked += 1;
    response.once('close', () => (ended += 1));
  });
  await clock.advance(5 * SECOND);
  for (let at = 0; at < 10; at += 1) t.strictSame(await source.check(await issuer.token()), ADA);
  t.ok(asked <= 2);
  t.equal(ended, 0, 'the question hangs, and nobody has waited for its end');
});

void t.test('documents that are not what they should be', async (t) => {
  const { issuer, open } = await setUp(t);
  const endless =
    (first: string) => (response: Parameters<Parameters<OidcIssuer['answer']>[1] & object>[0]) => {
      response.writeHead(200).write(first);
      const more = (): void =>
        void (!response.destroyed && response.write(' '.repeat(65_536), (error) => error ?? more()));
      more();
    };
  const good = { issuer: issuer.issuer, jwks_uri: issuer.issuer + JWKS };
  const weak = { kty: 'RSA', kid: 'weak', n: 'A'.repeat(171), e: 'AQAB' };
  const cases: [path: string, answer: Parameters<OidcIssuer['answer']>[1], reason: RegExp][] = [
    [
      DISCOVERY,
      (r) => json(r, { ...good, issuer: `${issuer.issuer}/` }),
      /is of another issuer.*slash at the end/,
    ],
    [DISCOVERY, (r) => json(r, []), /is of another issuer/],
    [DISCOVERY, (r) => json(r, { issuer: issuer.issuer }), /jwks_uri is not an https URL/],
    [
      DISCOVERY,
      (r) => json(r, { ...good, jwks_uri: 'http://127.0.0.1:1/keys' }),
      /jwks_uri is not an https URL/,
    ],
    [DISCOVERY, (r) => json(r, { ...good, jwks_uri: 'file:///etc/passwd' }), /jwks_uri is not an https URL/],
    [
      DISCOVERY,
      (r) => r.writeHead(302, { location: issuer.issuer + JWKS }).end(),
      /answers 302, and redirects are not followed/,
    ],
    [DISCOVERY, (r) => r.writeHead(404).end('no'), /openid-configuration answers 404$/],
    [DISCOVERY, (r) => r.writeHead(200).end('<html>'), /is not JSON/],
    [DISCOVERY, endless('{'), /answer is too long/],
    [JWKS, endless('{"keys":['), /answer is too long/],
    [JWKS, (r) => r.writeHead(307, { location: 'https://127.0.0.1:1/' }).end(), /answers 307/],
    [JWKS, (r) => json(r, { keys: [] }), /gives no public RSA, EC or Ed25519 key/],
    [JWKS, (r) => json(r, { keys: Array.from({ length: 101 }, () => issuer.publicJwk) }), /at most 100 keys/],
    [JWKS, (r) => json(r, { keys: [{ kty: 'oct', k: 'AAAA' }, weak, null, 7] }), /gives no public RSA/],
    [JWKS, (r) => r.writeHead(200, { 'content-length': 10 }).write('{'), /no answer within 1000 ms/],
    [JWKS, (r) => r.destroy(), /UND_ERR_SOCKET|ECONNRESET/],
  ];
  for (const [path, answer, reason] of cases) {
    issuer.answer(path, answer);
    const { source, log } = open({}, 1000);
    await t.rejects(source.check(await issuer.token()), SourceUnavailable, `${reason}`);
    t.match(log.lines, [reason]);
    issuer.answer(path, undefined);
  }
});

void t.test('a certificate that is not to be trusted', async (t) => {
  const { issuer, open } = await setUp(t);
  const other = await startOidcIssuer(() => 0);
  t.teardown(() => other[Symbol.asyncDispose]());
  const { source, log } = open({ ca: other.ca });
  await t.rejects(source.check(await issuer.token()), SourceUnavailable);
  t.match(log.lines, [/certificate is not trusted \(\w+\): mend auth\.edge\.oidc\.ca/]);
  t.strictSame(issuer.requests, []);
});
