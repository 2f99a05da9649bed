import { X509Certificate } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import { systemClock, type Clock } from '../../../src/lib/clock.ts';
import { authorityFiles, readAuthority } from '../../../src/tls/certificate-authority.ts';
import { readPair, type PairFiles } from '../../../src/tls/certificate-files.ts';
import { dnsNamesOf } from '../../../src/tls/describe-certificates.ts';
import { ensureCertificates } from '../../../src/tls/ensure-certificates.ts';
import { issueServerCertificate } from '../../../src/tls/leaf-certificate.ts';
import { namedPair } from '../../../src/tls/serving/served-certificates.ts';
import type { NamedPair } from '../../../src/tls/serving/server-contexts.ts';

/** A folder with a local CA and a main pair, and more pairs of that CA. */
export interface Site {
  readonly folder: string;
  readonly files: PairFiles;
  readonly main: NamedPair;
  readonly ca: string;
  /** Another pair; its certificate holds these names first. */
  pair(...names: string[]): NamedPair;
  /** The same, as `<base>.crt` and `<base>.key` in the folder. */
  put(base: string, pem: { readonly cert: string; readonly key: string }): PairFiles;
}

export async function makeSite(t: Test, names: string[], clock: Clock = systemClock): Promise<Site> {
  const folder = t.testdir();
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key') };
  await ensureCertificates({ ...files, names, hostname: 'edge', clock });
  const authority = await readAuthority(authorityFiles(files.cert), clock);
  const main = await readPair(files);
  if (authority === undefined || main === undefined) throw new Error('no CA');
  return {
    folder,
    files,
    main: namedPair(main),
    ca: authority.certPem,
    pair: (...names) => {
      const pem = issueServerCertificate(authority, { names, hostname: '-' }, clock);
      return { ...pem, names: dnsNamesOf(new X509Certificate(pem.cert)) };
    },
    put: (base, pem) => {
      const put = { cert: join(folder, `${base}.crt`), key: join(folder, `${base}.key`) };
      mkdirSync(dirname(put.cert), { recursive: true });
      writeFileSync(put.cert, pem.cert);
      writeFileSync(put.key, pem.key, { mode: 0o600 });
      return put;
    },
  };
}
