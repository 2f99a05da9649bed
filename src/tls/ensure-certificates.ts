import type { X509Certificate } from 'node:crypto';
import { dirname } from 'node:path';
import {
  authorityFiles,
  DAY,
  formerAuthorities,
  makeAuthority,
  readAuthority,
} from './certificate-authority.ts';
import { CertificateError } from './certificate-error.ts';
import {
  finishInterrupted,
  installPair,
  isLink,
  makeFolders,
  readCertificate,
  readPair,
  replaceCertificate,
  type CertificatePair,
} from './certificate-files.ts';
import { certificateState, type CertificateState, type Made } from './describe-certificates.ts';
import { withFolderLock } from './folder-lock.ts';
import { configuredNames, isIssuedBy, isMadeHere, issueServerCertificate } from './leaf-certificate.ts';
import { readCertificateFields } from './read-certificate.ts';
import type { Clock } from '../lib/clock.ts';

const RENEW_BEFORE = 30 * DAY;

export interface CertificateOptions {
  /** Where `tls.cert` and `tls.key` point. The local CA is `ca.crt` and `ca.key` beside the certificate. */
  readonly cert: string;
  readonly key: string;
  /** `tls.names`: host names and IP addresses. */
  readonly names: readonly string[];
  /** The machine's own name: in each new certificate, but no reason for one, since a container has another every time. */
  readonly hostname: string;
  /** False: one that ends soon is only warned of. Default true. */
  readonly autoRotate?: boolean;
  readonly clock: Clock;
}

/** What is on disk. `due` says that the pair is to be reissued: it is ours, and too old, without a name, or of a former CA. */
interface Standing {
  readonly pair: CertificatePair;
  /** The CA beside the pair, when that or a former one issued it. */
  readonly authority?: { readonly file: string; readonly certificate: X509Certificate };
  readonly own: boolean;
  readonly due: boolean;
  /** Due for its age: then the key is replaced as well. */
  readonly ending: boolean;
}

/**
 * A certificate and key to start with: those that are there, or new ones. Certificates that were not made here are never
 * touched. Ours is reissued when it ends within 30 days, with a new key, and when it lacks one of the names, for the key
 * that it has; where that fails the old one stays, with a warning. Without anything to do, nothing is written, not even the lock.
 * @throws CertificateError whose message tells the operator what to do.
 */
export async function ensureCertificates(options: CertificateOptions): Promise<CertificateState> {
  configuredNames(options.names);
  const first = await surveyOrError(options);
  if (first instanceof CertificateError) return settleAfter(first, options);
  if (first === undefined) {
    await makeFolders(options);
    return underLock(options, settle);
  }
  if (!first.due) return stateOf(options, first, 'none');
  return underLock(options, settle).catch((error: unknown) => {
    if (error instanceof CertificateError) return stateOf(options, first, 'none', error);
    throw error;
  });
}

/**
 * Half a pair may be another process's work of this moment, or what a crash left: under the lock it is neither.
 * @throws `first`, the error that was seen without the lock, when the lock is not to be had.
 */
async function settleAfter(first: CertificateError, options: CertificateOptions): Promise<CertificateState> {
  let locked = false;
  const work = async (): Promise<CertificateState> => {
    locked = true;
    return settle(options);
  };
  return underLock(options, work).catch((error: unknown) => {
    throw locked || !(error instanceof CertificateError) ? error : first;
  });
}

async function settle(options: CertificateOptions): Promise<CertificateState> {
  await finishBoth(options);
  const standing = await survey(options);
  if (standing === undefined) return makePair(options);
  if (!standing.due) return stateOf(options, standing, 'none');
  const authority = await readAuthority(authorityFiles(options.cert), options.clock);
  if (authority === undefined) return stateOf(options, standing, 'none');
  const { names, hostname, clock } = options;
  // A key that is a link is kept elsewhere for a reason; our new one would not get there.
  if (standing.ending && !(await isLink(options.key))) {
    await installPair(options, issueServerCertificate(authority, { names, hostname }, clock));
  } else {
    const renewed = issueServerCertificate(authority, { names, hostname, key: standing.pair.key }, clock);
    await replaceCertificate(options.cert, renewed.cert);
  }
  return stateOf(options, await survey(options), 'renewed');
}

/** A new key and certificate from the local CA, which is made when there is none. Only under the lock. */
export async function makePair(options: CertificateOptions): Promise<CertificateState> {
  const files = authorityFiles(options.cert);
  const existing = await readAuthority(files, options.clock);
  if (existing === undefined) await installPair(files, makeAuthority(options.clock));
  const authority = existing ?? (await readAuthority(files, options.clock));
  if (authority === undefined) throw vanished(files.cert);
  const { names, hostname, clock } = options;
  await installPair(options, issueServerCertificate(authority, { names, hostname }, clock));
  const made = existing === undefined ? 'ca-and-certificate' : 'certificate';
  return stateOf(options, await survey(options), made);
}

/** `undefined` when there is no pair. */
export async function survey(options: CertificateOptions): Promise<Standing | undefined> {
  const pair = await readPair(options);
  if (pair === undefined) return undefined;
  const file = authorityFiles(options.cert).cert;
  // A ca.crt that is no certificate is somebody else's matter as long as the pair itself is sound.
  const authority = await readCertificate(file).catch((error: unknown) => {
    if (error instanceof CertificateError) return undefined;
    throw error;
  });
  const made = isMadeHere(pair.certificate);
  const current = authority !== undefined && isIssuedBy(pair.certificate, authority);
  const former = made && !current && (await isOfFormerAuthority(pair.certificate, options.cert));
  if (authority === undefined || !(current || former)) return { pair, own: false, due: false, ending: false };
  const own = made && !(await isLink(options.cert));
  const longer = authority.validToDate.getTime() > pair.certificate.validToDate.getTime() + DAY;
  const old = pair.certificate.validToDate.getTime() - options.clock.now() < RENEW_BEFORE;
  const ending = old && longer && options.autoRotate !== false;
  const due = own && (ending || former || lacksName(pair, options.names));
  return { pair, authority: { file, certificate: authority }, own, due, ending };
}

/** True while a replacement of the CA has not come to the server's certificate yet: it was cut off between the two. */
async function isOfFormerAuthority(certificate: X509Certificate, certFile: string): Promise<boolean> {
  for (const file of await formerAuthorities(certFile)) {
    const former = await readCertificate(file);
    if (former !== undefined && isIssuedBy(certificate, former)) return true;
  }
  return false;
}

async function surveyOrError(options: CertificateOptions): Promise<Standing | CertificateError | undefined> {
  return survey(options).catch((error: unknown) => {
    if (error instanceof CertificateError) return error;
    throw error;
  });
}

function lacksName(pair: CertificatePair, names: readonly string[]): boolean {
  const present = new Set(readCertificateFields(pair.certificate.raw)?.names.map((name) => name.value));
  return configuredNames(names).some((name) => !present.has(name.value));
}

export function stateOf(
  options: CertificateOptions,
  standing: Standing | undefined,
  made: Made,
  failure?: CertificateError,
): CertificateState {
  if (standing === undefined) throw vanished(options.cert);
  return certificateState({ ...standing, made, now: options.clock.now() }, failure);
}

export async function finishBoth(options: CertificateOptions): Promise<void> {
  await finishInterrupted(authorityFiles(options.cert));
  await finishInterrupted(options);
}

export function underLock<T>(
  options: CertificateOptions,
  work: (options: CertificateOptions) => Promise<T>,
): Promise<T> {
  return withFolderLock(dirname(options.cert), options.clock, () => work(options));
}

function vanished(file: string): CertificateError {
  return new CertificateError(`${file} was removed while Pierhead was writing it: start again.`);
}
