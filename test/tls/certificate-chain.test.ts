import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { ms, type Milliseconds } from '../../src/lib/brand.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { authorityFiles, makeAuthority, readAuthority } from '../../src/tls/certificate-authority.ts';
import { CertificateError } from '../../src/tls/certificate-error.ts';
import { installPair, type CertificatePair } from '../../src/tls/certificate-files.ts';
import { issueClientCertificate, issueServerCertificate } from '../../src/tls/leaf-certificate.ts';
import { signCertificate } from '../../src/tls/sign-certificate.ts';

const NOW = Date.UTC(2026, 4, 1, 12, 0, 0);
const at = (epochMs: number): Clock => ({ ...systemClock, now: (): Milliseconds => ms(epochMs) });
const openssl = (...args: string[]): string =>
  execFileSync('openssl', args, { encoding: 'utf8', stdio: 'pipe' });
const text = (file: string): string => openssl('x509', '-in', file, '-noout', '-text');

async function authorityIn(folder: string, clock: Clock): Promise<CertificatePair> {
  const files = authorityFiles(join(folder, 'server.crt'));
  await installPair(files, makeAuthority(clock));
  const authority = await readAuthority(files, clock);
  if (authority === undefined) throw new Error('no CA');
  return authority;
}

function verify(folder: string, leaf: string, epochMs: number, ...more: string[]): string {
  const when = ['-attime', String(epochMs / 1000), '-x509_strict', '-CAfile', join(folder, 'ca.crt')];
  return openssl('verify', ...when, ...more, leaf);
}

void t.test(
  'openssl accepts a server certificate for its names, and finds in it what clients look for',
  async (t) => {
    const folder = t.testdir();
    const authority = await authorityIn(folder, at(NOW));
    const names = ['edge.example', '10.1.2.3', 'fd00::5', 'EDGE.example', 'localhost'];
    const pair = issueServerCertificate(authority, { names, hostname: 'node-7' }, at(NOW));
    const file = join(folder, 'leaf.crt');
    await writeFile(file, pair.cert);

    t.match(verify(folder, file, NOW, '-purpose', 'sslserver', '-verify_hostname', 'edge.example'), /: OK/);
    t.match(verify(folder, file, NOW, '-purpose', 'sslserver', '-verify_ip', 'fd00::5'), /: OK/);
    t.throws(() => verify(folder, file, NOW, '-purpose', 'sslclient'), 'not good for a client');
    t.throws(() => verify(folder, file, NOW, '-verify_hostname', 'other.example'), 'not for another name');

    const leaf = text(file);
    t.match(leaf, /Signature Algorithm: ecdsa-with-SHA256/);
    t.match(leaf, /NIST CURVE: P-256/);
    t.match(leaf, /Not Before: May {2}1 11:00:00 2026 GMT/, 'an hour back');
    t.match(leaf, /Not After : Jul 30 12:00:00 2026 GMT/, '90 days on');
    t.match(leaf, /Subject: O = Pierhead, CN = edge.example/);
    t.match(leaf, /Basic Constraints: critical\s+CA:FALSE/);
    t.match(leaf, /Key Usage: critical\s+Digital Signature\n/);
    t.match(leaf, /Extended Key Usage: \n\s+TLS Web Server Authentication\n/);
    const sans =
      'DNS:edge.example, IP Address:10.1.2.3, IP Address:FD00:0:0:0:0:0:0:5, DNS:localhost, ' +
      'IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:node-7';
    t.ok(leaf.includes(`${sans}\n`), 'each name once, addresses as addresses');

    const ca = text(join(folder, 'ca.crt'));
    t.match(ca, /Subject: CN = Pierhead local CA [0-9a-f]{8}\n/);
    t.match(ca, /Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    t.match(ca, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
    t.match(ca, /Not After : Apr 28 12:00:00 2036 GMT/);
    const identifier = (name: string, of: string): string | undefined =>
      new RegExp(`${name} Key Identifier: \\n\\s+([0-9A-F:]{59})\\n`).exec(of)?.[1];
    t.type(identifier('Subject', ca), 'string');
    t.equal(identifier('Authority', leaf), identifier('Subject', ca), 'the leaf names its CA key');
    t.not(identifier('Subject', leaf), identifier('Subject', ca));

    const blocks = pair.cert.split(/(?=-----BEGIN)/);
    t.equal(blocks[1], await readFile(join(folder, 'ca.crt'), 'utf8'), 'the CA follows the leaf');
    t.match(pair.key, /^-----BEGIN PRIVATE KEY-----/);
  },
);

void t.test('a client certificate tells who the client is, and serves for nothing else', async (t) => {
  const folder = t.testdir();
  const authority = await authorityIn(folder, at(NOW));
  const pair = issueClientCertificate(authority, 'Zoë of branch 7', at(NOW));
  const file = join(folder, 'client.crt');
  await writeFile(file, pair.cert);
  t.match(verify(folder, file, NOW, '-purpose', 'sslclient'), /: OK/);
  t.throws(() => verify(folder, file, NOW, '-purpose', 'sslserver'));
  t.equal(new X509Certificate(pair.cert).subject, 'CN=Zoë of branch 7');
  for (const identity of ['', '  ', 'a\nb', 'x'.repeat(65)]) {
    t.throws(
      () => issueClientCertificate(authority, identity, at(NOW)),
      CertificateError,
      JSON.stringify(identity),
    );
  }
});

void t.test('dates from 2050 on are GeneralizedTime, and a leaf never outlives its CA', async (t) => {
  const folder = t.testdir();
  const start = Date.UTC(2045, 0, 1);
  const authority = await authorityIn(folder, at(start));
  const end = authority.certificate.validToDate.getTime();
  t.equal(end, start + 3650 * 86_400_000, 'the CA ends in 2054');
  const dump = openssl('asn1parse', '-in', join(folder, 'ca.crt'));
  t.match(dump, /UTCTIME +:441231230000Z[^]*GENERALIZEDTIME +:20541230000000Z/);

  const late = end - 10 * 86_400_000;
  const file = join(folder, 'leaf.crt');
  await writeFile(file, issueServerCertificate(authority, { names: [], hostname: 'edge' }, at(late)).cert);
  t.equal(new X509Certificate(await readFile(file)).validToDate.getTime(), end);
  t.match(verify(folder, file, late), /: OK/);
});

void t.test('a CA with an RSA key signs as well; one with an Ed25519 key is refused in words', async (t) => {
  const folder = t.testdir();
  const files = authorityFiles(join(folder, 'server.crt'));
  const args = ['-x509', '-nodes', '-subj', '/C=DE/O=Own/CN=Own CA', '-days', '30', '-out', files.cert];
  openssl('req', '-newkey', 'rsa:2048', ...args, '-keyout', files.key);
  const authority = await readAuthority(files, systemClock);
  if (authority === undefined) throw new Error('no CA');
  const file = join(folder, 'leaf.crt');
  await writeFile(file, issueServerCertificate(authority, { names: [], hostname: 'edge' }, systemClock).cert);
  t.match(openssl('verify', '-CAfile', files.cert, file), /: OK/);
  t.match(text(file), /Signature Algorithm: sha256WithRSAEncryption/);

  const { privateKey } = generateKeyPairSync('ed25519');
  t.throws(
    () =>
      issueServerCertificate({ ...authority, key: privateKey }, { names: [], hostname: 'edge' }, systemClock),
    { name: 'CertificateError', message: /ed25519/ },
  );
});

void t.test(
  'each of many certificates is well-formed: serials are positive, at most 20 octets, never the same',
  (t) => {
    const serials = new Set<string>();
    for (let count = 0; count < 300; count += 1) {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const publicKey = createPublicKey(privateKey);
      const validity = { notBefore: ms(NOW), notAfter: ms(NOW + 1000) };
      const template = {
        subject: { commonName: 'x' },
        publicKey,
        ...validity,
        profile: { kind: 'client' },
      } as const;
      const certificate = new X509Certificate(signCertificate(template, { privateKey }));
      if (!certificate.verify(publicKey) || !certificate.publicKey.equals(publicKey))
        t.fail('key or signature broken');
      if (!/^[4-7][0-9A-F]{31}$/.test(certificate.serialNumber)) t.fail(certificate.serialNumber);
      serials.add(certificate.serialNumber);
    }
    t.equal(serials.size, 300);
    t.end();
  },
);

void t.test('with a clock that has not been set, nothing is made', (t) => {
  t.throws(() => makeAuthority(at(3600_000)), {
    name: 'CertificateError',
    message: /system clock says 1970-01-01/,
  });
  t.end();
});
