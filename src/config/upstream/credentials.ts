import { resolve } from 'node:path';
import { z } from 'zod';
import { seconds, type Milliseconds } from '../../lib/brand.ts';
import type { UpstreamCredentials } from '../config.ts';
import { DOCKER_HUB } from '../defaults.ts';
import { field, listOf, section, textField } from '../fields.ts';
import { printable, refusal, refusalOfKind } from '../problem.ts';
import { readSecret, type Surroundings } from '../secrets.ts';
import { DURATION_FORM, parseDuration } from '../units.ts';

/** The environment of a program that gives credentials, as far as the edge's own has it. Nothing else reaches it. */
const PASSED_ON = [
  'HOME USER LOGNAME LANG LC_ALL TMPDIR XDG_CONFIG_HOME XDG_RUNTIME_DIR SSL_CERT_FILE SSL_CERT_DIR',
  'HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy',
].flatMap((names) => names.split(' '));
const PATH_WITHOUT = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const DEFAULT_TTL = seconds(300);
const SHORTEST_TTL = seconds(1);
const LONGEST_TTL = seconds(24 * 3600);
const HELPER_FORM = 'the NAME of a docker-credential-NAME on the PATH';
const SERVER_FORM = 'what the helper knows the registry as: a host or a URL, without user info';
const EXEC_FORM = 'the program and its arguments, a text each (a number needs quotes)';
const KINDS = ['password', 'helper', 'exec'] as const;
/** What may stand beside each of those. */
const COMPANIONS = {
  password: ['username'],
  helper: ['server', 'env', 'ttl'],
  exec: ['username', 'env', 'ttl'],
} as const;

/** One of three: a user name and a password, a docker credential helper, a program. */
export function credentialsSchema(surroundings: Surroundings) {
  const text = z
    .string({ error: ({ input }) => refusal(input, 'a text (a number needs quotes)') })
    .min(1, { error: 'is empty; takes a text' });
  const argument = field((input) =>
    typeof input === 'string' && !input.includes('\0')
      ? { value: input }
      : { problem: refusalOfKind(input, 'a text (a number needs quotes)') },
  );
  return section({
    username: text.optional(),
    password: field((input) => readSecret(input, surroundings)).optional(),
    helper: matching(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, HELPER_FORM).optional(),
    server: matching(/^[^\s@?#]+$/, SERVER_FORM).optional(),
    exec: listOf(argument, EXEC_FORM)
      .min(1, { error: `is empty; takes ${EXEC_FORM}` })
      .optional(),
    env: listOf(environmentField(surroundings), 'names of environment variables').default([]),
    ttl: textField(parseTtl, `${DURATION_FORM}, from 1s to 24h`).default(DEFAULT_TTL),
  }).superRefine(checkTogether);
}

export type WrittenCredentials = z.output<ReturnType<typeof credentialsSchema>>;

/** `urls` are the upstream's, for what docker calls that registry. */
export function completeCredentials(
  written: WrittenCredentials,
  urls: readonly string[],
  { env, folder }: Surroundings,
): UpstreamCredentials {
  const { username, password, helper, exec, ttl } = written;
  if (username !== undefined && password !== undefined) return { username, password };
  const own = PASSED_ON.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]));
  const environment = { PATH: env['PATH'] ?? PATH_WITHOUT, ...Object.fromEntries([...own, ...written.env]) };
  const program = { env: environment, ttl };
  if (helper !== undefined) return { helper, server: written.server ?? serverOf(urls), ...program };
  const [file = '', ...args] = exec ?? [];
  const found = file.includes('/') ? resolve(folder, file) : file;
  return { exec: { file: found, args }, ...(username === undefined ? {} : { username }), ...program };
}

/** Docker keeps what it knows of a registry under its host, and of Docker Hub under the address of a service long gone. */
function serverOf([first = '']: readonly string[]): string {
  const { host } = new URL(first);
  return host === DOCKER_HUB.host ? 'https://index.docker.io/v1/' : host;
}

/** What is refused may be a secret in the wrong place. */
function matching(pattern: RegExp, takes: string) {
  return field((input) =>
    typeof input === 'string' && pattern.test(input)
      ? { value: input }
      : { problem: refusalOfKind(input, takes) },
  );
}

function parseTtl(text: string): Milliseconds | undefined {
  const ttl = parseDuration(text);
  return ttl !== undefined && ttl >= SHORTEST_TTL && ttl <= LONGEST_TTL ? ttl : undefined;
}

/** A variable that the program needs besides, with its value. */
function environmentField({ env }: Surroundings) {
  return field((input) => {
    if (typeof input !== 'string' || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(input))
      return { problem: refusalOfKind(input, 'the name of an environment variable, without a value') };
    const value = Object.hasOwn(env, input) ? env[input] : undefined;
    return value === undefined
      ? { problem: `the environment variable ${printable(input)} is not set` }
      : { value: [input, value] as const };
  });
}

type Fields = Partial<Record<'username' | 'server' | (typeof KINDS)[number], unknown>> & {
  readonly env: readonly unknown[];
  readonly ttl: Milliseconds;
};

function checkTogether(written: Fields, context: z.core.$RefinementCtx): void {
  const refuse = (key: string | undefined, message: string): void =>
    context.addIssue({ code: 'custom', message, path: key === undefined ? [] : [key] });
  const [kind, ...others] = KINDS.filter((key) => written[key] !== undefined);
  if (kind === undefined) {
    refuse(undefined, 'has no source; takes username and password, or helper, or exec');
    return;
  }
  for (const other of others) refuse(other, `does not go with ${kind}; takes one of ${KINDS.join(', ')}`);
  if (kind === 'password' && written.username === undefined)
    refuse('username', 'is missing; takes a text (a number needs quotes)');
  const set = {
    username: written.username !== undefined,
    server: written.server !== undefined,
    env: written.env.length > 0,
    ttl: written.ttl !== DEFAULT_TTL,
  };
  const companions: readonly string[] = COMPANIONS[kind];
  for (const [key, isSet] of Object.entries(set))
    if (isSet && !companions.includes(key)) refuse(key, `does not go with ${kind}`);
}
