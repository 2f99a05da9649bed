import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import { systemClock, type Clock } from '../../../src/lib/clock.ts';
import { authorityFiles, readAuthority, type PemPair } from '../../../src/tls/certificate-authority.ts';
import type { PairFiles } from '../../../src/tls/certificate-files.ts';
import { ensureCertificates } from '../../../src/tls/ensure-certificates.ts';
import { issueServerCertificate } from '../../../src/tls/leaf-certificate.ts';

/** A folder with a local CA and a main pair, and more pairs of that CA. */
export interface Site {
  readonly folder: string;
  readonly files: PairFiles;
  readonly main: PemPair;
  readonly ca: string;
  /** Another pair; its certificate holds these names first. */
  pair(...names: string[]): PemPair;
  /** The same, as `<base>.crt` and `<base>.key` in the folder. */
  put(base: string, pem: PemPair): PairFiles;
}

export async function makeSite(t: Test, names: string[], clock: Clock = systemClock): Promise<Site> {
  const folder = t.testdir();
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key') };
  await ensureCertificates({ ...files, names, hostname: 'edge', clock });
  const authority = await readAuthority(authorityFiles(files.cert), clock);
  if (authority === undefined) throw new Error('no CA');
  return {
    folder,
    files,
    main: { cert: await readFile(files.cert, 'utf8'), key: await readFile(files.key, 'utf8') },
    ca: authority.certPem,
    pair: (...names) => issueServerCertificate(authority, { names, hostname: '-' }, clock),
    put: (base, pem) => {
      const put = { cert: join(folder, `${base}.crt`), key: join(folder, `${base}.key`) };
      mkdirSync(dirname(put.cert), { recursive: true });
      writeFileSync(put.cert, pem.cert);
      writeFileSync(put.key, pem.key, { mode: 0o600 });
      return put;
    },
  };
}
