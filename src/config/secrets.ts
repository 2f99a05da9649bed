import { X509Certificate } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { TrustedFile } from './file-trust.ts';
import { printable, refusal, refusalOfKind, type Reading } from './problem.ts';

/** What a configuration's values may refer to. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Absolute: the folder that relative paths start from. */
  readonly folder: string;
  /** The processors that `workers: auto` counts. */
  readonly cpus: number;
  /** Set when others may read the file that a literal secret stands in: what to do about it. */
  readonly literalsRefused?: string;
  /** Hears of every file that something is read from. */
  readonly trusted?: (file: TrustedFile) => void;
}

export const SECRET_FORM = 'a text, { env: NAME } or { file: PATH }';
export const CA_FORM = 'the path of a file with PEM certificates';
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const MAX_FILE_BYTES = 16 * 1024 * 1024;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Whatever is wrong, neither the secret nor what may be one in the wrong place is in the problem. */
export function readSecret(source: unknown, surroundings: Surroundings): Reading<string> {
  if (typeof source === 'string') {
    if (source === '') return { problem: `is empty; takes ${SECRET_FORM}` };
    const { literalsRefused } = surroundings;
    return literalsRefused === undefined ? { value: source } : { problem: literalsRefused };
  }
  if (typeof source === 'number')
    return { problem: `got a number; takes ${SECRET_FORM} (a number needs quotes)` };
  const [only, ...more] = typeof source === 'object' && source !== null ? Object.entries(source) : [];
  if (only === undefined || more.length > 0 || typeof only[1] !== 'string')
    return { problem: refusalOfKind(source, SECRET_FORM) };
  const [kind, where] = only as [string, string];
  if (kind === 'env') return fromEnvironment(where, surroundings);
  if (kind === 'file') return fromFile(where, surroundings);
  return { problem: refusalOfKind(source, SECRET_FORM) };
}

/** PEM certificates, each of them parsed once, so that a wrong file is found now and not at the first handshake. */
export function readCertificates(source: unknown, surroundings: Surroundings): Reading<string> {
  if (typeof source !== 'string' || source === '') return { problem: refusal(source, CA_FORM) };
  const content = readText(source, surroundings, { secret: false });
  if ('problem' in content) return content;
  const certificates = content.value.match(CERTIFICATE) ?? [];
  if (certificates.length === 0 || !certificates.every(isCertificate))
    return { problem: `${printable(source)} is not ${CA_FORM.replace('the path of ', '')}` };
  return { value: `${certificates.join('\n')}\n` };
}

/** The content of a file that is named by its path. */
export function readTextFile(source: unknown, surroundings: Surroundings): Reading<string> {
  if (typeof source !== 'string' || source === '') return { problem: refusalOfKind(source, 'a path') };
  return readText(source, surroundings, { secret: false });
}

/** The same for one that nobody else should read: a private key, password hashes. */
export function readSecretFile(source: unknown, surroundings: Surroundings): Reading<string> {
  if (typeof source !== 'string' || source === '') return { problem: refusalOfKind(source, 'a path') };
  return readText(source, surroundings, { secret: true });
}

/** Why a file could not be read, in words that do not depend on the platform. */
export function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read by this user';
  if (code === 'EISDIR') return 'is a folder';
  return `cannot be read (${typeof code === 'string' ? code : 'unknown reason'})`;
}

function fromEnvironment(name: string, { env }: Surroundings): Reading<string> {
  if (!VARIABLE_NAME.test(name)) return { problem: 'names no environment variable; takes { env: NAME }' };
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (value === undefined) return { problem: `the environment variable ${name} is not set` };
  return value === '' ? { problem: `the environment variable ${name} is empty` } : { value };
}

function fromFile(path: string, surroundings: Surroundings): Reading<string> {
  const content = readText(path, surroundings, { secret: true });
  if ('problem' in content) return content;
  const value = content.value.replace(/\r?\n$/, '');
  return value === '' ? { problem: `the file ${printable(path)} is empty` } : { value };
}

function readText(
  path: string,
  { folder, trusted }: Surroundings,
  { secret }: { readonly secret: boolean },
): Reading<string> {
  const file = resolve(folder, path);
  try {
    // O_NONBLOCK: a FIFO that somebody has put there would otherwise be waited for.
    const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = fstatSync(descriptor);
      if (stats.isDirectory()) return { problem: `the file ${printable(file)} is a folder` };
      if (!stats.isFile() || stats.size > MAX_FILE_BYTES)
        return { problem: `${printable(file)} is no file, or one of more than ${MAX_FILE_BYTES} bytes` };
      trusted?.({ path: file, secret });
      return { value: readFileSync(descriptor, 'utf8') };
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    return { problem: `the file ${printable(file)} ${whyUnreadable(error)}` };
  }
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
