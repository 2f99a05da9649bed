import { generateKeyPairSync, randomBytes, type KeyObject, type X509Certificate } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CertificateError, orExplain } from './certificate-error.ts';
import { readPair, type CertificatePair, type PairFiles } from './certificate-files.ts';
import { signCertificate, type DistinguishedName, type Profile } from './sign-certificate.ts';
import { ms, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';

export const DAY = 24 * 60 * 60 * 1000;
const AUTHORITY_DAYS = 3650;
/** A client whose clock is a little slow takes a new certificate at once. */
const BACKDATED = 60 * 60 * 1000;
/** A machine without a battery-backed clock starts in 1970: what it makes then has long expired once the time is right. */
const EARLIEST = Date.UTC(2025, 0, 1);

/** A certificate and its key, as PEM texts. */
export interface PemPair {
  readonly cert: string;
  readonly key: string;
}

/** The local CA lives beside the server's certificate, wherever the configuration puts that. */
export function authorityFiles(certFile: string): PairFiles {
  const folder = dirname(certFile);
  return { cert: join(folder, 'ca.crt'), key: join(folder, 'ca.key') };
}

/** Where a CA that was replaced is kept: it is told apart by its fingerprint. */
export function formerAuthorityFiles(certFile: string, former: X509Certificate): PairFiles {
  const id = former.fingerprint256.replaceAll(':', '').slice(0, 8).toLowerCase();
  const folder = dirname(certFile);
  return { cert: join(folder, `ca-${id}.crt`), key: join(folder, `ca-${id}.key`) };
}

/** The certificates of all CAs that were replaced. */
export async function formerAuthorities(certFile: string): Promise<string[]> {
  const folder = dirname(certFile);
  const names = await orExplain(folder, 'read', readdir(folder));
  return names.filter((name) => /^ca-[0-9a-f]{8}\.crt$/.test(name)).map((name) => join(folder, name));
}

/**
 * A self-signed CA that may sign leaf certificates only. Each has its own name: were two alike, a client that has
 * installed both would look up the wrong one.
 */
export function makeAuthority(clock: Clock): PemPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const cert = signCertificate(
    {
      subject: { commonName: `Pierhead local CA ${randomBytes(4).toString('hex')}` },
      publicKey,
      ...validity(clock, AUTHORITY_DAYS),
      profile: { kind: 'authority' },
    },
    { privateKey },
  );
  return { cert, key: keyPem(privateKey) };
}

/**
 * `undefined` when there is none.
 * @throws CertificateError when what is there cannot sign: half of it missing, no CA, expired.
 */
export async function readAuthority(files: PairFiles, clock: Clock): Promise<CertificatePair | undefined> {
  const authority = await readPair(files, { own: true });
  if (authority === undefined) return undefined;
  const { certificate } = authority;
  if (!certificate.ca) {
    throw new CertificateError(
      `${files.cert} is not the certificate of a CA: move it and ${files.key} away.`,
    );
  }
  if (certificate.validToDate.getTime() <= clock.now()) {
    throw new CertificateError(
      `The local CA ${files.cert} expired on ${certificate.validToDate.toISOString()}: move it and ${files.key} away to ` +
        `have a new one made, then install the new ca.crt on the clients.`,
    );
  }
  return authority;
}

/** A certificate for `publicKey`, signed by the CA, which it never outlives. */
export function issueCertificate(
  authority: CertificatePair,
  leaf: { subject: DistinguishedName; publicKey: KeyObject; days: number; profile: Profile },
  clock: Clock,
): string {
  const { notBefore, notAfter } = validity(clock, leaf.days);
  return signCertificate(
    {
      subject: leaf.subject,
      publicKey: leaf.publicKey,
      profile: leaf.profile,
      notBefore,
      notAfter: ms(Math.min(notAfter, authority.certificate.validToDate.getTime())),
    },
    { privateKey: authority.key, certificate: authority.certificate.raw },
  );
}

export function keyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function validity(clock: Clock, days: number): { notBefore: Milliseconds; notAfter: Milliseconds } {
  const now = clock.now();
  if (now < EARLIEST) {
    throw new CertificateError(
      `The system clock says ${new Date(now).toISOString()}: set it, then start again; certificates made now would be ` +
        'expired as soon as it is right.',
    );
  }
  return { notBefore: ms(now - BACKDATED), notAfter: ms(now + days * DAY) };
}
