import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CertificateError, codeOf, explained, orExplain } from './certificate-error.ts';

const CERTIFICATE_MODE = 0o644;
const KEY_MODE = 0o600;
const MAX_BYTES = 1024 * 1024;

/** A certificate and its private key, as files. */
export interface PairFiles {
  readonly cert: string;
  readonly key: string;
}

/** A pair that was read and fits together. */
export interface CertificatePair {
  readonly files: PairFiles;
  /** The first certificate of the file: the one that the key belongs to. */
  readonly certificate: X509Certificate;
  readonly certPem: string;
  readonly key: KeyObject;
  readonly keyPem: string;
  readonly keyIsWorldReadable: boolean;
}

/**
 * `undefined` when neither file is there. Links are followed unless `own` says that the files are only ever made here:
 * certbot and Kubernetes hand their keys out as links.
 * @throws CertificateError when one file is missing, is no PEM of its kind, cannot be read, or does not fit the other.
 */
export async function readPair(
  files: PairFiles,
  options?: { own: boolean },
): Promise<CertificatePair | undefined> {
  const noFollow = options?.own === true ? constants.O_NOFOLLOW : 0;
  const cert = await readIfThere(files.cert, noFollow);
  const key = await readIfThere(files.key, noFollow);
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined) throw halfPair(files.key, files.cert);
  if (key === undefined) throw halfPair(files.cert, files.key);
  const certificate = parseCertificate(files.cert, cert.text);
  const privateKey = parseKey(files.key, key.text);
  if (!certificate.checkPrivateKey(privateKey)) throw mismatch(files, cert.text, privateKey);
  return {
    files,
    certificate,
    certPem: cert.text,
    key: privateKey,
    keyPem: key.text,
    keyIsWorldReadable: (key.mode & 0o004) !== 0,
  };
}

export async function readCertificate(file: string): Promise<X509Certificate | undefined> {
  const found = await readIfThere(file, 0);
  return found === undefined ? undefined : parseCertificate(file, found.text);
}

/**
 * Puts both files in place so that a crash at any instruction leaves a state that {@link finishInterrupted} completes or
 * takes back. Two files cannot be renamed as one: the certificate is made ready beside its place first, then the key
 * moves in, then the certificate. Only under the folder's lock.
 */
export async function installPair(files: PairFiles, pem: { cert: string; key: string }): Promise<void> {
  await makeFolders(files);
  await writeAside(files.cert, pem.cert, CERTIFICATE_MODE);
  await writeAside(files.key, pem.key, KEY_MODE);
  await moveIn(files.key);
  await moveIn(files.cert);
}

/** Another certificate for the key that is in place: one rename, so every reader sees a pair that fits. */
export async function replaceCertificate(file: string, pem: string): Promise<void> {
  await writeAside(file, pem, CERTIFICATE_MODE);
  await moveIn(file);
}

/** Completes an {@link installPair} that was cut off after the key moved in, else removes what it left. Only under the lock. */
export async function finishInterrupted(files: PairFiles): Promise<void> {
  const next = await readIfThere(asideOf(files.cert), constants.O_NOFOLLOW);
  if (next === undefined) return;
  const key = await readIfThere(files.key, 0);
  if (key !== undefined && fits(next.text, key.text)) await moveIn(files.cert);
  else await removeIfThere(asideOf(files.cert));
  await removeIfThere(asideOf(files.key));
}

export async function makeFolders(files: PairFiles): Promise<void> {
  for (const folder of new Set([dirname(files.cert), dirname(files.key)])) {
    await orExplain(folder, 'made', mkdir(folder, { recursive: true }));
  }
}

export async function isLink(file: string): Promise<boolean> {
  return (await orExplain(file, 'read', lstat(file))).isSymbolicLink();
}

function asideOf(file: string): string {
  return join(dirname(file), `.${basename(file)}.next`);
}

async function writeAside(file: string, text: string, mode: number): Promise<void> {
  const aside = asideOf(file);
  await removeIfThere(aside);
  // O_EXCL follows no link and opens nothing that somebody else has put there.
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const write = async (): Promise<void> => {
    await using handle = await open(aside, flags, KEY_MODE);
    await handle.writeFile(text);
    await handle.chmod(mode);
    await handle.sync();
  };
  await orExplain(file, 'written', write());
}

async function moveIn(file: string): Promise<void> {
  const move = async (): Promise<void> => {
    await rename(asideOf(file), file);
    await using folder = await open(dirname(file), constants.O_RDONLY | constants.O_DIRECTORY);
    await folder.sync();
  };
  await orExplain(file, 'written', move());
}

export async function removeIfThere(file: string): Promise<void> {
  try {
    await unlink(file);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw explained(file, 'removed', error);
  }
}

async function readIfThere(file: string, flags: number): Promise<{ text: string; mode: number } | undefined> {
  try {
    // O_NONBLOCK: opening a FIFO would otherwise wait for its writer.
    await using handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | flags);
    const { size, mode } = await handle.stat();
    if (!((mode & constants.S_IFMT) === constants.S_IFREG) || size > MAX_BYTES) {
      throw new CertificateError(`${file} is no PEM file: put the certificate or key itself there.`);
    }
    return { text: await handle.readFile('utf8'), mode };
  } catch (error) {
    if (codeOf(error) === 'ENOENT' && !(await isThere(file))) return undefined;
    throw explained(file, 'read', error);
  }
}

/** True for a link that leads nowhere, too. */
async function isThere(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}

function parseCertificate(file: string, text: string): X509Certificate {
  try {
    return new X509Certificate(text);
  } catch (error) {
    throw new CertificateError(
      `${file} holds no certificate in PEM: replace it, or remove it together with its key.`,
      {
        cause: error,
      },
    );
  }
}

function parseKey(file: string, text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (error) {
    const why = text.includes('ENCRYPTED')
      ? 'is protected by a passphrase: store it without one (openssl pkey -in … -out …) and guard the file instead.'
      : 'holds no private key in PEM: replace it, or remove it together with its certificate.';
    throw new CertificateError(`${file} ${why}`, { cause: error });
  }
}

function fits(certPem: string, keyPem: string): boolean {
  try {
    return new X509Certificate(certPem).checkPrivateKey(createPrivateKey(keyPem));
  } catch {
    // What cannot be parsed is a torn write: it fits nothing.
    return false;
  }
}

function halfPair(present: string, missing: string): CertificateError {
  return new CertificateError(
    `${present} is there, but ${missing} is missing: put it there, or move ${present} away to have a new pair made.`,
  );
}

function mismatch(files: PairFiles, certPem: string, key: KeyObject): CertificateError {
  const blocks = certPem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const misplaced = blocks.some((block) => new X509Certificate(block).checkPrivateKey(key));
  return new CertificateError(
    misplaced
      ? `${files.cert} does not begin with the server's own certificate: put it first, then the intermediates.`
      : `${files.key} is not the key of ${files.cert}: put a matching pair there, or move both away to have one made.`,
  );
}
