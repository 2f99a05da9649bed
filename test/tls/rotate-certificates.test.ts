import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../src/lib/clock.ts';
import {
  ensureCertificates,
  rotateCertificates,
  type CertificateOptions,
} from '../../src/tls/ensure-certificates.ts';

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
