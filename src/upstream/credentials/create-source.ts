import type { Milliseconds } from '../../lib/brand.ts';
import { StaticSource, type CredentialSource } from './credential-source.ts';
import { readHelperOutput, readJsonOutput, readPasswordOutput } from './program-output.ts';
import { ProgramSource, type ProgramSourceParts } from './program-source.ts';

interface ProgramOptions {
  /** The whole environment of the program. */
  readonly env: Readonly<Record<string, string>>;
  /** How long what it gave is used when it does not say so itself. */
  readonly ttl: Milliseconds;
}

export interface HelperOptions extends ProgramOptions {
  /** The `NAME` of `docker-credential-NAME`. */
  readonly helper: string;
  /** What the helper is asked for, as docker writes it. */
  readonly server: string;
}

export interface ExecOptions extends ProgramOptions {
  readonly exec: { readonly file: string; readonly args: readonly string[] };
  /** Set: the program prints the password alone. Otherwise it prints JSON. */
  readonly username?: string;
}

/** How an upstream's credentials are configured. */
export type CredentialOptions =
  { readonly username: string; readonly password: string } | HelperOptions | ExecOptions;

export function createCredentialSource(
  upstream: string,
  options: CredentialOptions | undefined,
  parts: ProgramSourceParts,
): CredentialSource {
  if (options === undefined || 'password' in options) return new StaticSource(options);
  const { env, ttl } = options;
  if ('helper' in options) {
    const { helper, server } = options;
    const program = { file: `docker-credential-${helper}`, args: ['get'], env, input: server };
    const identity = `helper ${helper} ${server}`;
    return new ProgramSource({ upstream, identity, program, read: readHelperOutput, ttl }, parts);
  }
  const { exec, username } = options;
  const program = { ...exec, env, input: '' };
  const identity = `exec ${JSON.stringify([exec.file, ...exec.args, username ?? null])}`;
  const read = username === undefined ? readJsonOutput : readPasswordOutput(username);
  return new ProgramSource({ upstream, identity, program, read, ttl }, parts);
}
