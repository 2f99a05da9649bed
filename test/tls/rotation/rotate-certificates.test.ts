import { X509Certificate } from 'node:crypto';
import { readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import t from 'tap';
import { ms } from '../../../src/lib/brand.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { ensureCertificates, type CertificateOptions } from '../../../src/tls/ensure-certificates.ts';
import { isIssuedBy } from '../../../src/tls/leaf-certificate.ts';
import {
  prepareAuthority,
  rotateAuthority,
  rotateCertificates,
} from '../../../src/tls/rotation/rotate-certificates.ts';

const DAY = 86_400_000;

const FILES = ['ca.crt', 'ca.key', 'server.crt', 'server.key'];

function optionsIn(folder: string): CertificateOptions {
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key') };
  return { ...files, names: ['edge.example'], hostname: 'node-7', clock: systemClock };
}

async function contents(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')] as const)),
  );
}

void t.test(
  'what a crash between the two renames left is completed; what it left before them is removed',
  async (t) => {
    const folder = t.testdir();
    const options = optionsIn(folder);
    await ensureCertificates(options);
    const done = await contents(folder);

    await rename(options.cert, join(folder, '.server.crt.next'));
    t.equal((await ensureCertificates(options)).made, 'none');
    t.same(await contents(folder), done, 'the key had moved in: the certificate follows');

    const aside = { cert: join(folder, '.server.crt.next'), key: join(folder, '.server.key.next') };
    await rename(options.cert, aside.cert);
    await rename(options.key, aside.key);
    t.equal((await ensureCertificates(options)).made, 'certificate');
    t.same(await readdir(folder), FILES, 'no key is left lying about');

    await rename(options.cert, aside.cert);
    await rename(join(folder, 'ca.crt'), join(folder, '.ca.crt.next'));
    await rm(options.key);
    await rm(aside.cert);
    t.equal((await ensureCertificates(options)).made, 'certificate', 'the same for the CA');
    t.equal((await contents(folder))['ca.crt'], done['ca.crt']);
  },
);

void t.test('a rotation makes a new key; one that was cut off is completed', async (t) => {
  const folder = t.testdir();
  const options = optionsIn(folder);
  const first = await ensureCertificates(options);
  const before = await contents(folder);
  const rotated = await rotateCertificates(options);
  t.equal(rotated.made, 'renewed');
  t.not(rotated.fingerprint256, first.fingerprint256);
  const after = await contents(folder);
  t.not(after['server.key'], before['server.key']);
  t.equal(after['ca.crt'], before['ca.crt']);

  await writeFile(join(folder, '.server.crt.next'), after['server.crt'] ?? '');
  await writeFile(options.cert, before['server.crt'] ?? '');
  t.equal((await ensureCertificates(options)).fingerprint256, rotated.fingerprint256);
  t.same(await readdir(folder), FILES);
});

void t.test('a rotation where nothing is yet makes everything', async (t) => {
  const folder = join(t.testdir(), 'certs');
  t.equal((await rotateCertificates(optionsIn(folder))).made, 'ca-and-certificate');
});

void t.test(
  'a rotation that was cut off before the key moved in is taken back by the next work',
  async (t) => {
    const folder = t.testdir();
    const options = optionsIn(folder);
    await ensureCertificates(options);
    const before = await contents(folder);
    await rotateCertificates(options);
    const after = await contents(folder);
    await writeFile(join(folder, '.server.crt.next'), after['server.crt'] ?? '');
    await writeFile(join(folder, '.server.key.next'), after['server.key'] ?? '');
    await writeFile(options.cert, before['server.crt'] ?? '');
    await writeFile(options.key, before['server.key'] ?? '');

    t.equal((await ensureCertificates({ ...options, names: ['another.example'] })).made, 'renewed');
    t.same(await readdir(folder), FILES);
    t.equal((await contents(folder))['server.key'], before['server.key']);
  },
);

void t.test('another CA: the former one is kept, and nothing but its word is lost', async (t) => {
  const folder = t.testdir();
  const options = optionsIn(folder);
  await ensureCertificates(options);
  const before = await contents(folder);
  const { state, former, prepared } = await rotateAuthority(options);
  t.equal(prepared, false);
  const after = await contents(folder);
  t.not(after['ca.crt'], before['ca.crt']);
  t.not(after['ca.key'], before['ca.key']);
  t.equal(await readFile(former?.cert ?? '', 'utf8'), before['ca.crt']);
  t.equal(await readFile(former?.key ?? '', 'utf8'), before['ca.key']);
  t.equal((await stat(former?.key ?? '')).mode & 0o777, 0o600);
  t.ok(isIssuedBy(certificateIn(after['server.crt']), certificateIn(after['ca.crt'])));
  t.equal(state.caFile, join(folder, 'ca.crt'));
  t.equal((await ensureCertificates(options)).made, 'none');
});

void t.test('a CA that was prepared changes nothing until it is taken into use', async (t) => {
  const folder = t.testdir();
  const options = optionsIn(folder);
  await ensureCertificates(options);
  const before = await contents(folder);
  const file = await prepareAuthority(options);
  const prepared = await contents(folder);
  t.same({ ...prepared, ...before }, prepared, 'nothing else is touched');
  t.equal(await prepareAuthority(options), file);
  t.same(await contents(folder), prepared, 'the same one, asked again');
  t.equal((await ensureCertificates(options)).made, 'none');
  t.equal((await rotateAuthority(options)).prepared, true);
  const after = await contents(folder);
  t.equal(after['ca.crt'], prepared['next-ca.crt']);
  t.notOk(Object.keys(after).some((name) => name.startsWith('next-')));
});

void t.test('a CA whose key is elsewhere, or that has expired, can be replaced', async (t) => {
  const folder = t.testdir();
  const options = optionsIn(folder);
  await ensureCertificates(options);
  await rm(join(folder, 'ca.key'));
  const { former } = await rotateAuthority(options);
  t.same(
    (await readdir(folder)).filter((name) => name.startsWith('ca-')),
    [basename(former?.cert ?? '')],
  );
  const later = { ...options, clock: { ...systemClock, now: () => ms(systemClock.now() + 4000 * DAY) } };
  t.equal((await rotateAuthority(later)).state.warning, undefined);
});

void t.test(
  'a replacement of the CA that was cut off before the server had a certificate is completed',
  async (t) => {
    const folder = t.testdir();
    const options = optionsIn(folder);
    await ensureCertificates(options);
    const before = await contents(folder);
    await rotateAuthority(options);
    const after = await contents(folder);
    await writeFile(options.cert, before['server.crt'] ?? '');
    await writeFile(options.key, before['server.key'] ?? '');
    t.equal((await ensureCertificates(options)).made, 'renewed');
    const now = await contents(folder);
    t.ok(isIssuedBy(certificateIn(now['server.crt']), certificateIn(after['ca.crt'])));
  },
);

void t.test('the CA of a certificate that was not made here is not replaced', async (t) => {
  const folder = t.testdir();
  const options = optionsIn(folder);
  await ensureCertificates(options);
  await rename(options.cert, join(folder, 'own.crt'));
  await symlink('own.crt', options.cert);
  const before = await contents(folder);
  await t.rejects(rotateAuthority(options), { name: 'CertificateError', message: /so it is not replaced/ });
  t.same(await contents(folder), before);
});

function certificateIn(pem: string | undefined): X509Certificate {
  return new X509Certificate(pem ?? '');
}
