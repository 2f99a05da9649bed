import { execFile, execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { ms, type Milliseconds } from '../../src/lib/brand.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { ensureCertificates, type CertificateOptions } from '../../src/tls/ensure-certificates.ts';

import { rotateCertificates } from '../../src/tls/rotation/rotate-certificates.ts';

const run = promisify(execFile);
const DAY = 86_400_000;
const NOW = Date.UTC(2026, 4, 1);
const FILES = ['ca.crt', 'ca.key', 'server.crt', 'server.key'];

const at = (epochMs: number): Clock => ({ ...systemClock, now: (): Milliseconds => ms(epochMs) });

function optionsIn(folder: string, more: Partial<CertificateOptions> = {}): CertificateOptions {
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key') };
  return { ...files, names: ['edge.example'], hostname: 'node-7', clock: at(NOW), ...more };
}

async function contents(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')] as const)),
  );
}

async function modeOf(file: string): Promise<string> {
  return ((await lstat(file)).mode & 0o7777).toString(8);
}

/** A pair from outside: self-signed by openssl, good for `days` from the real now on. */
function foreignPair(folder: string, days: number, base = 'server'): void {
  const [key, cert] = [join(folder, `${base}.key`), join(folder, `${base}.crt`)];
  const args = [
    '-x509',
    '-nodes',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-subj',
    '/CN=own.example',
  ];
  const names = ['-addext', 'subjectAltName=DNS:own.example,IP:192.0.2.1'];
  execFileSync('openssl', ['req', ...args, ...names, '-days', String(days), '-keyout', key, '-out', cert], {
    stdio: 'pipe',
  });
}

void t.test('the first start makes a CA and a certificate, the second nothing', async (t) => {
  const folder = join(t.testdir(), 'not', 'yet', 'there');
  const options = optionsIn(folder);
  const first = await ensureCertificates(options);
  t.match(first, { made: 'ca-and-certificate', caFile: join(folder, 'ca.crt'), expiresAt: NOW + 90 * DAY });
  t.same(first.names, ['edge.example', 'localhost', '127.0.0.1', '::1', 'node-7']);
  t.equal(first.fingerprint256, new X509Certificate(await readFile(options.cert)).fingerprint256);
  t.notOk(first.warning);
  t.same(await readdir(folder), FILES, 'no lock and no temporary file is left');
  t.equal(await modeOf(options.key), '600');
  t.equal(await modeOf(join(folder, 'ca.key')), '600');
  t.equal(await modeOf(options.cert), '644');
  t.equal(await modeOf(join(folder, 'ca.crt')), '644');

  const before = await contents(folder);
  t.same(await ensureCertificates(options), { ...first, made: 'none' });
  t.same(await contents(folder), before);
});

void t.test('the modes do not hang on the umask', async (t) => {
  const folder = t.testdir();
  const script = `process.umask(0o077);
    const { ensureCertificates } = await import(${JSON.stringify(import.meta.resolve('../../src/tls/ensure-certificates.ts'))});
    const { systemClock: clock } = await import(${JSON.stringify(import.meta.resolve('../../src/lib/clock.ts'))});
    await ensureCertificates({ cert: 'server.crt', key: 'server.key', names: [], hostname: 'x', clock });`;
  await run(process.execPath, ['--input-type=module', '-e', script], { cwd: folder });
  t.equal(await modeOf(join(folder, 'ca.crt')), '644');
  t.equal(await modeOf(join(folder, 'ca.key')), '600');
});

void t.test('an existing CA issues the certificate, and stays as it is', async (t) => {
  const folder = t.testdir();
  const options = optionsIn(folder);
  await ensureCertificates(options);
  const before = await contents(folder);
  await rm(options.cert);
  await rm(options.key);
  t.equal((await ensureCertificates(options)).made, 'certificate');
  const after = await contents(folder);
  t.equal(after['ca.crt'], before['ca.crt']);
  t.equal(after['ca.key'], before['ca.key']);
  t.not(after['server.key'], before['server.key']);
});

void t.test(
  'a name that was added to the configuration is added to the certificate, for the same key',
  async (t) => {
    const folder = t.testdir();
    await ensureCertificates(optionsIn(folder));
    const before = await contents(folder);
    const names = ['EDGE.example', 'mirror.example', '10.0.0.7'];
    const state = await ensureCertificates(optionsIn(folder, { names }));
    t.equal(state.made, 'renewed');
    t.same(state.names.slice(0, 3), ['edge.example', 'mirror.example', '10.0.0.7']);
    const after = await contents(folder);
    t.same(Object.keys(after), FILES);
    t.same(
      { ...after, 'server.crt': '' },
      { ...before, 'server.crt': '' },
      'only the certificate is another',
    );

    t.equal((await ensureCertificates(optionsIn(folder, { names }))).made, 'none');
    t.equal(
      (await ensureCertificates(optionsIn(folder, { hostname: 'node-8' }))).made,
      'none',
      'another host name',
    );
  },
);

void t.test('less than 30 days before its end a certificate is renewed, not earlier', async (t) => {
  const folder = t.testdir();
  await ensureCertificates(optionsIn(folder));
  const first = await contents(folder);
  t.equal((await ensureCertificates(optionsIn(folder, { clock: at(NOW + 60 * DAY) }))).made, 'none');
  const off = { ...optionsIn(folder, { clock: at(NOW + 61 * DAY) }), autoRotate: false };
  t.match(await ensureCertificates(off), { made: 'none', warning: /expires in 29 days/ });
  const renewed = await ensureCertificates(optionsIn(folder, { clock: at(NOW + 61 * DAY) }));
  t.match(renewed, { made: 'renewed', expiresAt: NOW + 151 * DAY });
  t.not((await contents(folder))['server.key'], first['server.key'], 'with a key of its own');
  t.equal((await ensureCertificates(optionsIn(folder, { clock: at(NOW + 61 * DAY) }))).made, 'none');
  const longAfter = await ensureCertificates(optionsIn(folder, { clock: at(NOW + 400 * DAY) }));
  t.match(longAfter, { made: 'renewed', expiresAt: NOW + 490 * DAY }, 'an expired one, too');
  t.notOk(longAfter.warning);
});

void t.test(
  'at the end of the CA the certificate is not renewed at each start, and the operator is told',
  async (t) => {
    const folder = t.testdir();
    await ensureCertificates(optionsIn(folder));
    const nearEnd = optionsIn(folder, { clock: at(NOW + 3640 * DAY) });
    t.match(await ensureCertificates(nearEnd), { made: 'renewed', expiresAt: NOW + 3650 * DAY });
    const state = await ensureCertificates(nearEnd);
    t.equal(state.made, 'none');
    t.match(state.warning, /ca\.crt expires in 10 days/);

    const past = optionsIn(folder, { clock: at(NOW + 3651 * DAY) });
    t.match((await ensureCertificates(past)).warning, /server\.crt expired on .*ca\.crt expired on/);
    await rm(past.cert);
    await rm(past.key);
    await t.rejects(ensureCertificates(past), {
      name: 'CertificateError',
      message: /CA .* expired .* move it/,
    });
  },
);

void t.test('certificates from outside are never touched', async (t) => {
  const folder = t.testdir();
  foreignPair(folder, 5);
  foreignPair(folder, 5, 'ca');
  const before = await contents(folder);
  const state = await ensureCertificates(optionsIn(folder, { clock: systemClock }));
  t.equal(state.made, 'none');
  t.same(state.names, ['own.example', '192.0.2.1']);
  t.notOk(state.caFile);
  t.match(state.warning, /server\.crt expires in 4 days/);
  const later = await ensureCertificates(optionsIn(folder, { clock: at(Date.now() + 20 * DAY) }));
  t.match(later.warning, /server\.crt expired on/);
  await t.rejects(rotateCertificates(optionsIn(folder)), {
    name: 'CertificateError',
    message: /not made by the local CA/,
  });
  t.same(await contents(folder), before);
});

void t.test(
  "a certificate that the operator's own tools made with our CA is not touched either",
  async (t) => {
    const folder = t.testdir();
    await ensureCertificates(optionsIn(folder, { clock: systemClock }));
    const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-days', '3', '-out', 'server.crt'];
    const args = ['-x509', '-nodes', '-newkey', 'rsa:2048', '-subj', '/CN=own', '-keyout', 'server.key'];
    execFileSync('openssl', ['req', ...args, '-keyout', 'server.key', '-out', 'self.crt'], {
      cwd: folder,
      stdio: 'ignore',
    });
    const request = execFileSync(
      'openssl',
      ['x509', '-x509toreq', '-in', 'self.crt', '-signkey', 'server.key'],
      {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    execFileSync('openssl', ['x509', '-req', '-CAcreateserial', ...signing], {
      cwd: folder,
      input: request,
      stdio: 'pipe',
    });
    const before = await contents(folder);
    const state = await ensureCertificates(optionsIn(folder, { clock: systemClock }));
    t.match(state, { made: 'none', caFile: join(folder, 'ca.crt'), warning: /expires in 2 days/ });
    t.same(await contents(folder), before);
  },
);

void t.test('a certificate behind a link (certbot, Kubernetes) is used, and not replaced', async (t) => {
  const folder = t.testdir();
  const real = join(folder, 'real');
  await mkdir(real);
  await ensureCertificates(optionsIn(real));
  for (const name of ['server.crt', 'server.key']) await symlink(join(real, name), join(folder, name));
  for (const name of ['ca.crt', 'ca.key']) await copyFile(join(real, name), join(folder, name));
  const before = await contents(real);
  const state = await ensureCertificates(optionsIn(folder, { clock: at(NOW + 80 * DAY) }));
  t.match(state, { made: 'none', warning: /server\.crt expires in 10 days/ });
  t.ok((await lstat(join(folder, 'server.crt'))).isSymbolicLink());
  t.same(await contents(real), before);
});

void t.test('what cannot be used is an error that tells what to do', async (t) => {
  const good = t.testdir();
  await ensureCertificates(optionsIn(good));
  const pem = await contents(good);
  const other = join(good, 'other');
  await mkdir(other);
  foreignPair(other, 5);
  const foreign = await contents(other);
  const encrypted = execFileSync('openssl', [
    'pkey',
    '-aes256',
    '-passout',
    'pass:x',
    '-in',
    join(good, 'server.key'),
  ]);
  const cases: [string, Record<string, string | undefined>, RegExp][] = [
    ['no key', { 'server.crt': pem['server.crt'] }, /server\.key is missing: put it there, or move/],
    ['no certificate', { 'server.key': pem['server.key'] }, /server\.crt is missing: put it there, or move/],
    [
      'mismatch',
      { ...pem, 'server.key': foreign['server.key'] },
      /server\.key is not the key of .*matching pair/,
    ],
    [
      'CA first',
      { ...pem, 'server.crt': `${pem['ca.crt']}${pem['server.crt']}` },
      /server's own certificate: put it first/,
    ],
    ['no PEM', { ...pem, 'server.crt': 'x' }, /server\.crt holds no certificate in PEM: replace it/],
    ['empty key', { ...pem, 'server.key': '' }, /server\.key holds no private key in PEM: replace it/],
    ['passphrase', { ...pem, 'server.key': encrypted.toString() }, /passphrase: store it without/],
    ['CA without key', { 'ca.crt': pem['ca.crt'] }, /ca\.key is missing/],
    [
      'CA mismatch',
      { 'ca.crt': pem['ca.crt'], 'ca.key': foreign['server.key'] },
      /ca\.key is not the key of/,
    ],
    ['no CA', { 'ca.crt': pem['server.crt'], 'ca.key': pem['server.key'] }, /not the certificate of a CA/],
    ['huge', { ...pem, 'server.crt': 'x'.repeat(2 ** 20 + 1) }, /is no PEM file/],
  ];
  for (const [index, [name, files, message]] of cases.entries()) {
    const folder = join(good, String(index));
    await mkdir(folder);
    for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text ?? '');
    const before = await contents(folder);
    await t.rejects(ensureCertificates(optionsIn(folder)), { name: 'CertificateError', message }, name);
    t.same(await contents(folder), before, `${name}: nothing was written`);
  }
  for (const name of ['https://edge.example', 'edge.example:5443']) {
    const wrong = ensureCertificates(optionsIn(good, { names: [name] }));
    await t.rejects(wrong, { name: 'CertificateError', message: /tls\.names has/ }, name);
  }
});

void t.test('no link, FIFO or folder is taken for a key of ours, nor written through', async (t) => {
  const folder = t.testdir({ victim: 'precious' });
  await symlink(join(folder, 'victim'), join(folder, '.server.key.next'));
  await symlink(join(folder, 'victim'), join(folder, '.ca.key.next'));
  await ensureCertificates(optionsIn(folder));
  t.equal(await readFile(join(folder, 'victim'), 'utf8'), 'precious');
  t.same((await readdir(folder)).sort(), [...FILES, 'victim']);

  for (const name of ['server.crt', 'server.key']) await rm(join(folder, name));
  await rename(join(folder, 'ca.key'), join(folder, 'elsewhere'));
  await symlink('elsewhere', join(folder, 'ca.key'));
  await t.rejects(ensureCertificates(optionsIn(folder)), {
    name: 'CertificateError',
    message: /ca\.key .*symbolic link/,
  });

  await rm(join(folder, 'ca.key'));
  execFileSync('mkfifo', [join(folder, 'ca.key')]);
  await t.rejects(ensureCertificates(optionsIn(folder)), {
    name: 'CertificateError',
    message: /is no PEM file/,
  });

  await symlink('nowhere', join(folder, 'server.key'));
  await t.rejects(ensureCertificates(optionsIn(folder)), {
    name: 'CertificateError',
    message: /leads nowhere/,
  });
});

void t.test(
  'a folder that cannot be written to is an error at first, and only a warning later',
  async (t) => {
    const folder = t.testdir({ file: '' });
    const under = optionsIn(join(folder, 'file'));
    await t.rejects(ensureCertificates(under), {
      name: 'CertificateError',
      message: /a part of its path is a file/,
    });

    const options = optionsIn(folder);
    const first = await ensureCertificates(options);
    await mkdir(join(folder, '.server.crt.next'));
    const state = await ensureCertificates({ ...options, clock: at(NOW + 80 * DAY) });
    t.match(state, { made: 'none', fingerprint256: first.fingerprint256 });
    t.match(state.warning, /could not be renewed: .*server\.crt expires in 10 days/);
  },
);

void t.test('where no lock can be made, it is the pair that is complained about', async (t) => {
  const folder = t.testdir({ '.certificates.lock': 'not a lock' });
  const options = optionsIn(folder);
  await t.rejects(ensureCertificates(options), { name: 'CertificateError', message: /certificates\.lock/ });
  await writeFile(options.key, '');
  await t.rejects(ensureCertificates(options), {
    name: 'CertificateError',
    message: /server\.crt is missing/,
  });
});

void t.test('a key that everybody can read is used, with a warning', async (t) => {
  const folder = t.testdir();
  await ensureCertificates(optionsIn(folder));
  await chmod(join(folder, 'server.key'), 0o644);
  t.match((await ensureCertificates(optionsIn(folder))).warning, /server\.key can be read by every user/);
});

void t.test('many that start at once in one process agree on one pair', async (t) => {
  const folder = t.testdir();
  const states = await Promise.all(
    Array.from({ length: 8 }, () => ensureCertificates(optionsIn(folder, { clock: at(NOW) }))),
  );
  t.equal(new Set(states.map((state) => state.fingerprint256)).size, 1);
  t.same(states.map((state) => state.made).sort(), [
    'ca-and-certificate',
    ...Array.from({ length: 7 }, () => 'none'),
  ]);
  t.same(await readdir(folder), FILES);
});

void t.test('processes that start at once agree on one pair', async (t) => {
  const folder = t.testdir();
  const script = `
    const { ensureCertificates } = await import(${JSON.stringify(import.meta.resolve('../../src/tls/ensure-certificates.ts'))});
    const { systemClock: clock } = await import(${JSON.stringify(import.meta.resolve('../../src/lib/clock.ts'))});
    const state = await ensureCertificates({ cert: 'server.crt', key: 'server.key', names: [], hostname: 'x', clock });
    process.stdout.write(state.fingerprint256);`;
  const starts = Array.from({ length: 4 }, () =>
    run(process.execPath, ['--input-type=module', '-e', script], { cwd: folder }),
  );
  const prints = (await Promise.all(starts)).map((done) => done.stdout);
  t.equal(prints[0], new X509Certificate(await readFile(join(folder, 'server.crt'))).fingerprint256);
  t.equal(new Set(prints).size, 1);
  t.same(await readdir(folder), FILES);
});
