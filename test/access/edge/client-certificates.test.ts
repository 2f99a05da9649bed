import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { ClientCertificates } from '../../../src/access/edge/client-certificates.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { TestAuthority } from '../../tls/clients/authority.ts';

const DAY = 86_400_000;

void t.test('who a certificate is for', async (t) => {
  const authority = await TestAuthority.create(t.testdir());
  const ca = await authority.ca();
  const clock = new FakeClock(Date.now() + 60_000);
  const names = {
    commonName: new ClientCertificates({ ca, user: 'commonName' }, clock),
    subjectAltName: new ClientCertificates({ ca, user: 'subjectAltName' }, clock),
  };
  const cases: [kind: keyof typeof names, subject: string, san: string[], user: string | undefined][] = [
    ['commonName', '/CN=ada', [], 'ada'],
    ['commonName', '/O=Corp/CN=jürgen', [], 'jürgen'],
    ['commonName', '/O=Corp', [], undefined],
    ['commonName', '/CN=ada/CN=root', [], undefined],
    ['commonName', '/O=Corp\\nCN=root', [], undefined],
    ['commonName', '/O=x/CN=ada, CN=root', [], 'ada, CN=root'],
    ['subjectAltName', '/CN=ada', [], undefined],
    ['subjectAltName', '/CN=x', ['subjectAltName=DNS:host.example,email:ada@example.com'], 'ada@example.com'],
    ['subjectAltName', '/CN=x', ['subjectAltName=URI:spiffe://corp/ada,DNS:host.example'], 'host.example'],
    ['subjectAltName', '/CN=x', ['subjectAltName=IP:192.0.2.1,URI:spiffe://corp/ada'], 'spiffe://corp/ada'],
    ['subjectAltName', '/CN=x', ['subjectAltName=IP:192.0.2.1'], undefined],
    [
      'subjectAltName',
      '/CN=x',
      ['subjectAltName=@names', '[names]', 'URI.1=http://a/\\, email:root@example.com'],
      'http://a/, email:root@example.com',
    ],
  ];
  for (const [kind, subject, san, user] of cases) {
    const { cert } = await authority.issue(subject, san);
    const known = names[kind].identityOf(new X509Certificate(cert).raw);
    t.same(
      known,
      user === undefined ? undefined : { user, groups: [], by: 'certificate' },
      `${subject} ${san.join()}`,
    );
  }
});

void t.test('what has changed since the handshake', async (t) => {
  const folder = t.testdir();
  const authority = await TestAuthority.create(`${folder}/one`);
  const [ada, bob] = [await authority.issue('/CN=ada'), await authority.issue('/CN=bob')];
  await authority.revoke(bob);
  await authority.writeRevocations(2 * 86_400);
  const clock = new FakeClock(Date.now() + 60_000);
  const ca = await authority.ca();
  const crl = await authority.crl();
  const certificates = new ClientCertificates({ ca, crl, user: 'commonName' }, clock);
  const [adas, bobs] = [new X509Certificate(ada.cert), new X509Certificate(bob.cert)];
  t.equal(certificates.identityOf(adas.raw)?.user, 'ada');
  t.ok(certificates.admits(adas));
  t.equal(certificates.identityOf(bobs.raw), undefined, 'revoked');
  t.notOk(certificates.admits(bobs));

  const another = await TestAuthority.create(`${folder}/another`);
  const replaced = new ClientCertificates({ ca: await another.ca(), user: 'commonName' }, clock);
  t.notOk(replaced.admits(adas), 'of a CA that is not trusted any more');
  const both = new ClientCertificates({ ca: (await another.ca()) + ca, user: 'commonName' }, clock);
  t.ok(both.admits(adas));

  await clock.advance(2 * DAY);
  t.equal(certificates.identityOf(adas.raw), undefined, 'while the list is out of date, nobody');
  t.notOk(certificates.admits(adas));
  t.ok(both.admits(adas));
  await clock.advance(10 * DAY);
  t.equal(both.identityOf(adas.raw), undefined, 'expired');
  t.notOk(both.admits(adas));
});

void t.test('a CA of the same name that is another one admits nobody', async (t) => {
  const folder = t.testdir();
  const [real, fake] = [
    await TestAuthority.create(`${folder}/real`, 'Same'),
    await TestAuthority.create(`${folder}/fake`, 'Same'),
  ];
  const clock = new FakeClock(Date.now() + 60_000);
  const certificates = new ClientCertificates({ ca: await real.ca(), user: 'commonName' }, clock);
  // Without key identifiers the names alone fit: what tells them apart is the signature.
  for (const extensions of [[], ['authorityKeyIdentifier=none']]) {
    const { cert } = await fake.issue('/CN=ada', extensions);
    t.notOk(certificates.admits(new X509Certificate(cert)));
  }
});
