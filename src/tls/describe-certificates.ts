import type { X509Certificate } from 'node:crypto';
import { authorityFiles, DAY } from './certificate-authority.ts';
import { CertificateError } from './certificate-error.ts';
import { readCertificate, type CertificatePair } from './certificate-files.ts';
import { isIssuedBy } from './leaf-certificate.ts';
import { readCertificateFields } from './read-certificate.ts';
import { ms, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';

/** Our own are renewed by then; everybody else's are the operator's to replace. */
const WARN_BEFORE = 30 * DAY;
/** Replacing a CA means a visit to every client. */
const WARN_AUTHORITY_BEFORE = 90 * DAY;

export type Made = 'ca-and-certificate' | 'certificate' | 'renewed' | 'none';

export interface CertificateState {
  readonly made: Made;
  /** The CA that clients are to trust; not there when the certificate is not from the local CA. */
  readonly caFile?: string;
  /** Since the Unix epoch. */
  readonly expiresAt: Milliseconds;
  readonly names: readonly string[];
  /** Upper case hex with colons, as `openssl x509 -fingerprint -sha256` prints it. */
  readonly fingerprint256: string;
  /** For the operator: sentences on what is, or will soon be, wrong. */
  readonly warning?: string;
}

export interface StateFacts {
  readonly pair: CertificatePair;
  readonly authority?: { readonly file: string; readonly certificate: X509Certificate };
  readonly made: Made;
  readonly now: Milliseconds;
}

/** `failure` is why a renewal that was due did not happen. */
export function certificateState(facts: StateFacts, failure?: CertificateError): CertificateState {
  const { pair, authority, made } = facts;
  const warnings = [
    ...(failure === undefined ? [] : [`${pair.files.cert} could not be renewed: ${failure.message}`]),
    ...validityWarnings(pair.files.cert, pair.certificate, facts.now),
    ...(authority === undefined
      ? []
      : validityWarnings(authority.file, authority.certificate, facts.now, WARN_AUTHORITY_BEFORE)),
    ...(pair.keyIsWorldReadable
      ? [`${pair.files.key} can be read by every user of this machine: chmod 600 it.`]
      : []),
  ];
  return {
    made,
    ...(authority === undefined ? {} : { caFile: authority.file }),
    expiresAt: ms(pair.certificate.validToDate.getTime()),
    names: namesOf(pair.certificate),
    fingerprint256: pair.certificate.fingerprint256,
    ...(warnings.length === 0 ? {} : { warning: warnings.join(' ') }),
  };
}

export function namesOf(certificate: X509Certificate): string[] {
  return readCertificateFields(certificate.raw)?.names.map((name) => name.value) ?? [];
}

/** In lower case; the names by which a client can choose a certificate. */
export function dnsNamesOf(certificate: X509Certificate): string[] {
  const names = readCertificateFields(certificate.raw)?.names ?? [];
  return names.filter(({ kind }) => kind === 'dns').map(({ value }) => value);
}

/** Whole days; negative once it has expired. */
export function daysLeft(certificate: X509Certificate, now: Milliseconds): number {
  return Math.floor((certificate.validToDate.getTime() - now) / DAY);
}

export function validityWarnings(
  file: string,
  certificate: X509Certificate,
  now: Milliseconds,
  before: number = WARN_BEFORE,
): string[] {
  const { validFromDate, validToDate } = certificate;
  if (validToDate.getTime() <= now)
    return [`${file} expired on ${validToDate.toISOString()}: clients refuse it.`];
  if (validFromDate.getTime() > now)
    return [`${file} is valid only from ${validFromDate.toISOString()}: is the clock right?`];
  if (validToDate.getTime() - now >= before) return [];
  return [
    `${file} expires in ${daysLeft(certificate, now)} days, on ${validToDate.toISOString()}: replace it in time.`,
  ];
}

export interface CertificateDescription {
  readonly file: string;
  /** One attribute after the other, such as `O=Pierhead, CN=localhost`. */
  readonly subject: string;
  readonly issuer: string;
  readonly names: readonly string[];
  readonly validFrom: Milliseconds;
  readonly expiresAt: Milliseconds;
  /** Whole days; negative once it has expired. */
  readonly daysLeft: number;
  readonly fingerprint256: string;
  readonly fromLocalAuthority: boolean;
}

/**
 * The server's certificate and, when there is one beside it, the local CA's. No key is opened.
 * @throws CertificateError when there is no certificate, or it cannot be read.
 */
export async function describeCertificates(
  certFile: string,
  clock: Clock,
): Promise<{ server: CertificateDescription; authority?: CertificateDescription }> {
  const server = await readCertificate(certFile);
  if (server === undefined) {
    throw new CertificateError(
      `${certFile} is not there yet: it is made on first start, or by "pierhead certs init".`,
    );
  }
  const authorityFile = authorityFiles(certFile).cert;
  const authority = await readCertificate(authorityFile);
  const fromLocal = authority !== undefined && isIssuedBy(server, authority);
  const description = describe(certFile, server, fromLocal, clock.now());
  if (authority === undefined) return { server: description };
  return { server: description, authority: describe(authorityFile, authority, true, clock.now()) };
}

/** A certificate that is served besides. @throws CertificateError when there is none, or it cannot be read. */
export async function describeFurther(certFile: string, clock: Clock): Promise<CertificateDescription> {
  const certificate = await readCertificate(certFile);
  if (certificate !== undefined) return describe(certFile, certificate, false, clock.now());
  throw new CertificateError(`${certFile} is not there: put it there, or take it out of tls.certificates.`);
}

function describe(
  file: string,
  certificate: X509Certificate,
  fromLocalAuthority: boolean,
  now: Milliseconds,
): CertificateDescription {
  return {
    file,
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    names: namesOf(certificate),
    validFrom: ms(certificate.validFromDate.getTime()),
    expiresAt: ms(certificate.validToDate.getTime()),
    daysLeft: daysLeft(certificate, now),
    fingerprint256: certificate.fingerprint256,
    fromLocalAuthority,
  };
}

/** Node prints an attribute a line; an empty name is `undefined` there, whatever its type says. */
function oneLine(name: string | undefined): string {
  return (name ?? '').split('\n').join(', ');
}

/** For the operator, as soon as there is a local CA. `command` prints or writes the files of a client. */
export function clientTrustHint(caFile: string, command: string): string {
  return `Clients trust this edge once they have its CA certificate, ${caFile} (never ca.key). Each client's files, with it:
  ${command}
A client that does not trust the edge mostly goes to the registry itself without a word: check the edge's log.`;
}
