import { createPublicKey, generateKeyPairSync, type KeyObject, type X509Certificate } from 'node:crypto';
import { issueCertificate, keyPem, type PemPair } from './certificate-authority.ts';
import { CertificateError } from './certificate-error.ts';
import type { CertificatePair } from './certificate-files.ts';
import { readCertificateFields } from './read-certificate.ts';
import { parseSubjectName, type SubjectName } from './subject-name.ts';
import type { Clock } from '../lib/clock.ts';

const SERVER_DAYS = 90;
const CLIENT_DAYS = 365;
/** In the subject of the server certificates that are made here, and so may be replaced here. */
const ORGANIZATION = 'Pierhead';
/** RFC 5280, appendix A: ub-common-name. */
const MAX_COMMON_NAME = 64;
const IDENTITY = /^\P{C}{1,64}$/u;

/** Names that the edge has on the machine itself. */
const ALWAYS = ['localhost', '127.0.0.1', '::1'];

/** @throws CertificateError for a name that can stand in no certificate. */
export function configuredNames(names: readonly string[]): SubjectName[] {
  return [...names, ...ALWAYS].map((name) => {
    const parsed = parseSubjectName(name);
    if (parsed !== undefined) return parsed;
    throw new CertificateError(
      `tls.names has "${name}", which is neither a host name nor an IP address: write it without scheme, port and brackets.`,
    );
  });
}

/**
 * A server certificate for `key`, or for a new key without one, followed by the CA's.
 * `hostname` is the machine's own word: one that can stand in no certificate is left out.
 */
export function issueServerCertificate(
  authority: CertificatePair,
  subject: { names: readonly string[]; hostname: string; key?: KeyObject },
  clock: Clock,
): PemPair {
  const own = parseSubjectName(subject.hostname);
  const names = distinct([...configuredNames(subject.names), ...(own === undefined ? [] : [own])]);
  const key = subject.key ?? newKey();
  const cert = issueCertificate(
    authority,
    {
      subject: { commonName: commonNameOf(names), organization: ORGANIZATION },
      publicKey: createPublicKey(key),
      days: SERVER_DAYS,
      profile: { kind: 'server', names },
    },
    clock,
  );
  return { cert: cert + authority.certificate.toString(), key: keyPem(key) };
}

/**
 * A certificate by which a client tells who it is: `identity` is its common name.
 * @throws CertificateError for an identity that is empty, over 64 characters, or has control characters.
 */
export function issueClientCertificate(
  authority: CertificatePair,
  identity: string,
  clock: Clock,
  options: { days: number } = { days: CLIENT_DAYS },
): PemPair {
  if (identity.trim() === '' || !IDENTITY.test(identity)) {
    throw new CertificateError(
      `"${identity}" cannot be a client's name: take 1 to ${MAX_COMMON_NAME} characters, none of them a control character.`,
    );
  }
  const key = newKey();
  const cert = issueCertificate(
    authority,
    {
      subject: { commonName: identity },
      publicKey: createPublicKey(key),
      days: options.days,
      profile: { kind: 'client' },
    },
    clock,
  );
  return { cert: cert + authority.certificate.toString(), key: keyPem(key) };
}

export function isIssuedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

/** True for what {@link issueServerCertificate} made, if by the local CA: the only certificates that may be replaced. */
export function isMadeHere(certificate: X509Certificate): boolean {
  return readCertificateFields(certificate.raw)?.organization === ORGANIZATION;
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

function distinct(names: readonly SubjectName[]): SubjectName[] {
  return [...new Map(names.map((name) => [name.value, name])).values()];
}

/** For people only: clients look at the subjectAltName alone. */
function commonNameOf(names: readonly SubjectName[]): string {
  return names.find((name) => name.value.length <= MAX_COMMON_NAME)?.value ?? 'localhost';
}
