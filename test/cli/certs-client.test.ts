import { X509Certificate } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { TestAuthority } from '../tls/clients/authority.ts';
import { pierhead } from './pierhead.ts';

void t.test('a certificate for a client, of the local CA', async (t) => {
  const dir = t.testdir();
  const early = await pierhead(['certs', 'client', 'ada'], dir);
  t.equal(early.code, 1);
  t.match(early.stderr, 'pierhead certs init');
  t.equal((await pierhead(['certs', 'init'], dir)).code, 0);
  const made = await pierhead(['certs', 'client', 'ada', '--out', 'ada', '--days', '30'], dir);
  t.equal(made.code, 0, made.stderr);
  const certificate = new X509Certificate(await readFile(join(dir, 'ada/client.cert')));
  const ca = new X509Certificate(await readFile(join(dir, 'certs/ca.crt')));
  t.equal(certificate.subject, 'CN=ada');
  t.ok(certificate.verify(ca.publicKey));
  t.same(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2'], 'for clients only');
  t.equal((await stat(join(dir, 'ada/client.key'))).mode & 0o777, 0o600);
  const again = await pierhead(['certs', 'client', 'eve', '--out', 'ada'], dir);
  t.equal(again.code, 1);
  t.match(again.stderr, 'is there already');
  t.equal((await pierhead(['certs', 'client', 'eve', '--days', '0'], dir)).code, 2);
});

void t.test('check tells of client certificates that nobody could use', async (t) => {
  const dir = t.testdir();
  const authority = await TestAuthority.create(join(dir, 'ca'));
  await authority.writeRevocations(3600);
  const config = (crl: string): string =>
    JSON.stringify({
      listen: { https: '127.0.0.1:0', http: '127.0.0.1:0', admin: null },
      upstreams: [{ name: 'central', url: 'http://127.0.0.1:9', default: true }],
      auth: { mode: 'edge', edge: { clientCertificate: { ca: authority.caFile, crl } } },
    });
  const check = async (crl: string): Promise<string> => {
    await writeFile(join(dir, 'edge.yaml'), config(crl), { mode: 0o600 });
    return (await pierhead(['check', '--config', 'edge.yaml'], dir)).stdout;
  };
  t.match(
    await check(authority.crlFile),
    /warn +client certificates .*crl is out of date on .*put a new one there/,
  );
  await authority.writeRevocations();
  await authority.writeRevocations(7 * 86_400);
  t.match(await check(authority.crlFile), /ok +client certificates +CN=Test CA, \d+ days left; 0 revoked/);
  await writeFile(join(dir, 'edge.yaml'), config('missing.crl'), { mode: 0o600 });
  t.match((await pierhead(['check', '--config', 'edge.yaml'], dir)).stderr, 'missing.crl');
});
