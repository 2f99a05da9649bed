import { ms, type Milliseconds } from '../../lib/brand.ts';
import type { Credentials } from './credential-source.ts';

/** What is wrong with an output. Never quotes it: it may hold the secret. */
export class OutputError extends Error {
  override readonly name = 'OutputError';
}

export type ReadOutput = (output: string) => Credentials;

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/i;
/** Docker's helpers give an identity token under this name. */
const IDENTITY_TOKEN_NAME = '<token>';

/** `get` of docker's credential helpers: `{"ServerURL": …, "Username": …, "Secret": …}`. @throws {OutputError} */
export function readHelperOutput(output: string): Credentials {
  const { Username: username, Secret: secret } = readObject(output);
  if (username === IDENTITY_TOKEN_NAME) return { identityToken: textOf(secret, 'Secret') };
  return { username: userNameOf(username, 'Username'), password: textOf(secret, 'Secret') };
}

/** `{"username": …, "password": …, "expiresAt": …}`, the time in RFC 3339 and not required. @throws {OutputError} */
export function readJsonOutput(output: string): Credentials {
  const { username, password, expiresAt } = readObject(output);
  return {
    username: userNameOf(username, 'username'),
    password: textOf(password, 'password'),
    expiresAt: expiresAt === undefined || expiresAt === null ? undefined : timeOf(expiresAt),
  };
}

/** The output is the password itself, as the clouds' own commands print it. */
export function readPasswordOutput(username: string): ReadOutput {
  return (output) => ({ username, password: textOf(output.trim(), 'output') });
}

function readObject(output: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    // No cause: JSON errors quote the text.
    throw new OutputError('printed something that is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new OutputError('printed JSON that is not an object');
  return { ...value };
}

function userNameOf(value: unknown, key: string): string {
  const name = textOf(value, key);
  if (name.includes(':')) throw new OutputError(`printed a ${key} with a colon in it`);
  return name;
}

function textOf(value: unknown, key: string): string {
  if (typeof value !== 'string' || value === '') throw new OutputError(`printed no ${key}`);
  // Line breaks mean that more was printed than the secret; none of them can stand in a header.
  if (/\p{Cc}/u.test(value))
    throw new OutputError(`printed a ${key} with line breaks or control characters in it`);
  return value;
}

function timeOf(value: unknown): Milliseconds {
  const time =
    typeof value === 'string' && RFC_3339.test(value) ? Date.parse(value.toUpperCase()) : Number.NaN;
  if (Number.isNaN(time)) throw new OutputError('printed an expiresAt that is no RFC 3339 time');
  return ms(time);
}
