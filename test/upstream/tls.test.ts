import { generateKeyPairSync } from 'node:crypto';
import forge from 'node-forge';
import t from 'tap';
import { asked, failureOf, fixture, question } from './fixture.ts';
import { reply, serve } from './scripted-server.ts';

/** A self-signed certificate for 127.0.0.1 and localhost. */
function certificate(): { key: string; cert: string } {
  const pair = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const built = forge.pki.createCertificate();
  built.publicKey = forge.pki.publicKeyFromPem(pair.publicKey);
  built.serialNumber = '01';
  built.validity.notBefore = new Date(Date.now() - 3_600_000);
  built.validity.notAfter = new Date(Date.now() + 3_600_000);
  const name = [{ name: 'commonName', value: 'localhost' }];
  built.setSubject(name);
  built.setIssuer(name);
  const altNames = [
    { type: 2, value: 'localhost' },
    { type: 7, ip: '127.0.0.1' },
  ];
  built.setExtensions([
    { name: 'basicConstraints', cA: true },
    { name: 'subjectAltName', altNames },
  ]);
  built.sign(forge.pki.privateKeyFromPem(pair.privateKey), forge.md.sha256.create());
  return { key: pair.privateKey, cert: forge.pki.certificateToPem(built) };
}

const tls = certificate();

await t.test('an upstream is trusted by its own authority, and not without it', async (t) => {
  const server = await serve(t, (_, response) => reply(response, 200, {}, 'secure'), { tls });
  const trusting = fixture(t, server.url, { ca: tls.cert });
  t.match(await asked(trusting.client), { body: 'secure' });
  t.match(await failureOf(fixture(t, server.url).client.ask(question())), { kind: 'unreachable' });
  t.equal(server.asked.length, 1);
});

await t.test('a realm of an https upstream is https, even on its own host', async (t) => {
  const plain = await serve(t, (_, response) => reply(response, 200, {}, '{"token":"t"}'));
  const headers = { 'www-authenticate': `Bearer realm="${plain.url}/token"` };
  const server = await serve(t, (_, response) => reply(response, 401, headers), { tls });
  const { client } = fixture(t, server.url, {
    ca: tls.cert,
    authHosts: [plain.host],
    credentials: { username: 'ada', password: 'canary' },
  });
  t.match(await failureOf(client.ask(question())), { kind: 'protocol', message: /https/ });
  t.same(plain.asked, []);
});

await t.test('from https to http only near a private upstream', async (t) => {
  const plain = await serve(t, (_, response) => reply(response, 200, {}, 'plain'));
  const server = await serve(t, (_, response) => reply(response, 307, { location: plain.url }), { tls });
  t.match(await asked(fixture(t, server.url, { ca: tls.cert }).client), { body: 'plain' });
  const options = { ca: tls.cert, allowedRedirectHosts: ['127.0.0.1'] };
  const classify = (): 'public' => 'public';
  const { client } = fixture(t, server.url, options, { classify });
  t.match(await failureOf(client.ask(question())), { kind: 'protocol', message: /https/ });
  t.equal(plain.asked.length, 1);
});
