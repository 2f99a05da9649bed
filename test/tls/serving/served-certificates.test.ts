import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ms } from '../../../src/lib/brand.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { rotateCertificates } from '../../../src/tls/rotation/rotate-certificates.ts';
import {
  endingFurther,
  expiriesOf,
  oddFurther,
  isSame,
  readServedCertificates,
} from '../../../src/tls/serving/served-certificates.ts';
import { makeSite } from './fixture.ts';

const DAY = 86_400_000;

void t.test('every pair is read, and each expiry has a name of its own', async (t) => {
  const site = await makeSite(t, ['main.example']);
  const certificates = [
    site.put('corp', site.pair('corp.example')),
    site.put('one/fullchain', site.pair('one.example')),
    site.put('two/fullchain', site.pair('two.example')),
    site.put('two/server', site.pair('three.example')),
  ];
  const served = await readServedCertificates({ ...site.files, certificates }, systemClock);
  t.same(
    expiriesOf(served).map(({ name }) => name),
    ['server', 'ca', 'corp.crt', 'one/fullchain.crt', 'two/fullchain.crt', 'server.crt'],
  );
  const end = served.main.certificate.validToDate.getTime();
  t.equal(expiriesOf(served)[0]?.at, end);
  t.ok(isSame(served, await readServedCertificates({ ...site.files, certificates }, systemClock)));
  site.put('corp', site.pair('corp.example'));
  t.notOk(isSame(served, await readServedCertificates({ ...site.files, certificates }, systemClock)));
});

void t.test('what cannot be served is refused, with the file and what to do', async (t) => {
  const site = await makeSite(t, ['main.example']);
  const good = site.pair('a.example');
  const other = site.pair('b.example');
  const nameless = join(site.folder, 'nameless');
  const weak = join(site.folder, 'weak');
  for (const [file, bits] of [
    [nameless, '2048'],
    [weak, '1024'],
  ] as const) {
    const args = ['-x509', '-nodes', '-newkey', `rsa:${bits}`, '-subj', '/CN=x', '-days', '9'];
    const names = file === weak ? ['-addext', 'subjectAltName=DNS:w.example'] : [];
    execFileSync('openssl', ['req', ...args, ...names, '-keyout', `${file}.key`, '-out', `${file}.crt`], {
      stdio: 'ignore',
    });
  }
  for (const [entry, message] of [
    [
      { cert: '/nowhere/a.crt', key: '/nowhere/a.key' },
      /certificates\[0\]: neither .* put them there, or take/,
    ],
    [site.put('torn', { cert: good.cert, key: other.key }), /torn\.key is not the key of .*torn\.crt/],
    [site.put('junk', { cert: 'junk', key: other.key }), /junk\.crt holds no certificate in PEM/],
    [{ cert: `${nameless}.crt`, key: `${nameless}.key` }, /nameless\.crt holds no DNS name/],
    [{ cert: `${weak}.crt`, key: `${weak}.key` }, /weak\.crt cannot be served .*key too small.*2048 bits/],
  ] as const) {
    const files = { ...site.files, certificates: [entry] };
    await t.rejects(readServedCertificates(files, systemClock), { name: 'CertificateError', message });
  }
});

void t.test('an end that is near and a certificate that nobody gets are warned of', async (t) => {
  const site = await makeSite(t, ['main.example']);
  const certificates = [
    site.put('a', site.pair('a.example')),
    site.put('again', { ...site.pair('a.example') }),
  ];
  const served = await readServedCertificates({ ...site.files, certificates }, systemClock);
  const now = systemClock.now();
  t.match(oddFurther(served), [/again\.crt is never served.*a\.example/]);
  t.same(endingFurther(served, now), []);
  t.match(endingFurther(served, ms(now + 61 * DAY)), [
    /a\.crt expires in 28 days/,
    /again\.crt expires in 28 days/,
  ]);
  t.match(endingFurther(served, ms(now + 91 * DAY)), [/a\.crt expired on/, /again\.crt expired on/]);
});

void t.test(
  'a reader never finds a key that does not fit, however often it is rotated meanwhile',
  async (t) => {
    const site = await makeSite(t, ['main.example']);
    const options = { ...site.files, names: ['main.example'], hostname: 'edge', clock: systemClock };
    const done = new AbortController();
    const rotating = (async () => {
      for (let rotations = 0; rotations < 40; rotations += 1) await rotateCertificates(options);
      done.abort();
    })();
    const seen = new Set<string>();
    while (!done.signal.aborted) {
      const { main } = await readServedCertificates({ ...site.files, certificates: [] }, systemClock);
      t.ok(main.certificate.checkPrivateKey(main.key));
      seen.add(main.keyPem);
    }
    await rotating;
    t.ok(seen.size > 1, `${seen.size} different keys were read`);
    t.equal(readFileSync(join(site.folder, 'ca.crt'), 'utf8'), site.ca);
  },
);
