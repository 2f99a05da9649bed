import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { ms, type Milliseconds } from '../../src/lib/brand.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { clientTrustHint, describeCertificates } from '../../src/tls/describe-certificates.ts';
import { ensureCertificates } from '../../src/tls/ensure-certificates.ts';

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 4, 1);
const at = (epochMs: number): Clock => ({ ...systemClock, now: (): Milliseconds => ms(epochMs) });

void t.test('our certificate and its CA are described, without opening a key', async (t) => {
  const folder = t.testdir();
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key') };
  await t.rejects(describeCertificates(files.cert, at(NOW)), {
    name: 'CertificateError',
    message: /certs init/,
  });
  const state = await ensureCertificates({
    ...files,
    names: ['edge.example'],
    hostname: 'edge',
    clock: at(NOW),
  });
  await rm(files.key);
  await rm(join(folder, 'ca.key'));
  const { server, authority } = await describeCertificates(files.cert, at(NOW + 100 * DAY));
  t.match(server, {
    file: files.cert,
    subject: 'O=Pierhead, CN=edge.example',
    issuer: authority?.subject,
    names: state.names,
    validFrom: NOW - 3_600_000,
    expiresAt: NOW + 90 * DAY,
    daysLeft: -10,
    fingerprint256: state.fingerprint256,
    fromLocalAuthority: true,
  });
  t.match(authority, {
    file: join(folder, 'ca.crt'),
    subject: /^CN=Pierhead local CA [0-9a-f]{8}$/,
    daysLeft: 3550,
  });
  const print = execFileSync('openssl', [
    'x509',
    '-in',
    files.cert,
    '-noout',
    '-fingerprint',
    '-sha256',
  ]).toString();
  t.ok(print.includes(server.fingerprint256));
});

void t.test('a certificate from elsewhere is described as such', async (t) => {
  const folder = t.testdir();
  const file = join(folder, 'server.crt');
  const args = ['-x509', '-nodes', '-newkey', 'rsa:2048', '-subj', '/', '-days', '9', '-keyout', '/dev/null'];
  execFileSync('openssl', ['req', ...args, '-out', file], { stdio: 'ignore' });
  const { server, authority } = await describeCertificates(file, systemClock);
  t.match(server, { subject: '', issuer: '', names: [], fromLocalAuthority: false, daysLeft: 8 });
  t.equal(authority, undefined);
});

void t.test('the hint names the certificate, and the command that hands it to clients', (t) => {
  const hint = clientTrustHint('/srv/certs/ca.crt', 'pierhead client-config docker');
  t.match(hint, '/srv/certs/ca.crt (never ca.key)');
  t.match(hint, /^ +pierhead client-config docker$/m);
  t.end();
});
