import type { X509Certificate } from 'node:crypto';
import { basename, dirname } from 'node:path';
import { authorityFiles } from '../certificate-authority.ts';
import { CertificateError } from '../certificate-error.ts';
import { readCertificate, readPair, type CertificatePair, type PairFiles } from '../certificate-files.ts';
import { dnsNamesOf, validityWarnings } from '../describe-certificates.ts';
import { withFolderLock } from '../folder-lock.ts';
import { isIssuedBy } from '../leaf-certificate.ts';
import { ms, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { ServerContexts, type NamedPair } from './server-contexts.ts';

export interface ServedFiles extends PairFiles {
  /** `tls.certificates`. */
  readonly certificates: readonly PairFiles[];
}

/** All that the TLS listener serves, read from disk and found good. */
export interface ServedCertificates {
  readonly main: CertificatePair;
  readonly further: readonly CertificatePair[];
  /** The local CA, when it issued the main certificate. */
  readonly authority: { readonly file: string; readonly certificate: X509Certificate } | undefined;
}

/**
 * Reads the main pair and the further ones, and tries each as a listener would. Expired ones pass: they are for the
 * operator to see ({@link endingFurther}), and no reason to serve nobody.
 * @throws CertificateError whose message tells the operator what to do.
 */
export async function readServedCertificates(files: ServedFiles, clock: Clock): Promise<ServedCertificates> {
  const main = await readSettled(files, clock);
  if (main === undefined) {
    throw new CertificateError(`${files.cert} and ${files.key} were removed: put them back, or start again.`);
  }
  tried(main);
  const further: CertificatePair[] = [];
  for (const [index, entry] of files.certificates.entries()) {
    const pair = await readPair(entry);
    if (pair === undefined) {
      throw new CertificateError(
        `tls.certificates[${index}]: neither ${entry.cert} nor ${entry.key} is there: put them there, or take the entry out.`,
      );
    }
    if (dnsNamesOf(pair.certificate).length === 0) {
      throw new CertificateError(
        `tls.certificates[${index}]: ${entry.cert} holds no DNS name (subjectAltName), by which clients could choose it.`,
      );
    }
    further.push(tried(pair));
  }
  const file = authorityFiles(files.cert).cert;
  const certificate = await readCertificate(file).catch((error: unknown) => {
    // Beside an operator's own certificate, a ca.crt that is none is the operator's matter.
    if (error instanceof CertificateError) return undefined;
    throw error;
  });
  const issued = certificate !== undefined && isIssuedBy(main.certificate, certificate);
  return { main, further, authority: issued ? { file, certificate } : undefined };
}

export function namedPair({ certPem, keyPem, certificate }: CertificatePair): NamedPair {
  return { cert: certPem, key: keyPem, names: dnsNamesOf(certificate) };
}

/** Sentences on further pairs that end within 30 days, or have ended; those on the main one are in its state. */
export function endingFurther({ further }: ServedCertificates, now: Milliseconds): string[] {
  return further.flatMap(({ files, certificate }) => validityWarnings(files.cert, certificate, now));
}

/** Sentences on further pairs that can be served and that an operator would not want so. */
export function oddFurther({ main, further }: ServedCertificates): string[] {
  const held = new Set(dnsNamesOf(main.certificate));
  const odd: string[] = [];
  for (const { files, certificate, keyIsWorldReadable } of further) {
    const names = dnsNamesOf(certificate);
    if (names.every((name) => held.has(name)))
      odd.push(
        `${files.cert} is never served: each of its names (${names.join(', ')}) is on an earlier certificate.`,
      );
    if (keyIsWorldReadable) odd.push(`${files.key} can be read by every user of this machine: chmod 600 it.`);
    for (const name of names) held.add(name);
  }
  return odd;
}

export interface Expiry {
  /** `server`, `ca`, or the base name of a further certificate's file; no two are the same. */
  readonly name: string;
  /** Since the Unix epoch. */
  readonly at: Milliseconds;
}

export function expiriesOf({ main, further, authority }: ServedCertificates): Expiry[] {
  const expiry = (name: string, { validToDate }: X509Certificate): Expiry => ({
    name,
    at: ms(validToDate.getTime()),
  });
  const files = further.map((pair) => pair.files.cert);
  return [
    expiry('server', main.certificate),
    ...(authority === undefined ? [] : [expiry('ca', authority.certificate)]),
    ...further.map(({ files: { cert }, certificate }) => expiry(shortName(cert, files), certificate)),
  ];
}

/** As much of the path's end as tells it apart: certbot calls every certificate `fullchain.pem`. */
function shortName(file: string, all: readonly string[]): string {
  const short = (path: string): string => basename(path);
  const longer = (path: string): string => `${basename(dirname(path))}/${basename(path)}`;
  const names = ['server', 'ca', ...all.filter((other) => other !== file).map(short)];
  if (!names.includes(short(file))) return short(file);
  return all.some((other) => other !== file && longer(other) === longer(file)) ? file : longer(file);
}

/** True when both would be served alike. */
export function isSame(one: ServedCertificates, other: ServedCertificates): boolean {
  const pems = ({ main, further }: ServedCertificates): string =>
    JSON.stringify([main, ...further].map(({ certPem, keyPem }) => [certPem, keyPem]));
  return pems(one) === pems(other);
}

/**
 * A rotation moves two files, one after the other: what does not fit is looked at again when the lock of whoever may be
 * at it is free.
 * @throws the first error when the lock is not to be had.
 */
async function readSettled(files: PairFiles, clock: Clock): Promise<CertificatePair | undefined> {
  try {
    return await readPair(files);
  } catch (first) {
    if (!(first instanceof CertificateError)) throw first;
    let locked = false;
    const again = async (): Promise<CertificatePair | undefined> => {
      locked = true;
      return await readPair(files);
    };
    return await withFolderLock(dirname(files.cert), clock, again).catch((error: unknown) => {
      throw locked || !(error instanceof CertificateError) ? error : first;
    });
  }
}

/** @throws CertificateError for a pair that fits together and still cannot be served, such as with a key that is too short. */
function tried(pair: CertificatePair): CertificatePair {
  try {
    void new ServerContexts(namedPair(pair), []);
    return pair;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CertificateError(
      `${pair.files.cert} cannot be served (${reason}): take an ECDSA P-256 key, or an RSA key of 2048 bits or more.`,
      { cause: error },
    );
  }
}
