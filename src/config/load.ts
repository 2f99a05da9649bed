import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { adminProblems } from './access/admin-access.ts';
import { completeAuth } from './access/auth.ts';
import { accessProblems, completeAccess } from './access/networks.ts';
import { completeRoles } from './access/roles.ts';
import { collide } from './addresses.ts';
import type { Config, ListenConfig } from './config.ts';
import { DEFAULT_LISTEN } from './defaults.ts';
import type { TrustedFile } from './file-trust.ts';
import { readFlags, type Flags, type Overrides } from './flags.ts';
import { ConfigError, printable, problemsOf, type Problem } from './problem.ts';
import { completeRedis } from './redis.ts';
import { configSchema, type FileConfig } from './schema.ts';
import { whyUnreadable, type Surroundings } from './secrets.ts';
import { completeUpstreams, upstreamNames } from './upstreams.ts';
import { completeWarm } from './warm.ts';
import { readYaml } from './yaml.ts';

export interface ConfigSources {
  /** The config file, relative to `cwd`; without it nothing is read and the defaults apply. */
  readonly file?: string;
  readonly flags: Flags;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Absolute. */
  readonly cwd: string;
  readonly cpus: number;
}

/**
 * The configuration to run on: defaults, then the file, then the flags.
 *
 * @throws {ConfigError} with every problem of the file and the flags.
 */
export function loadConfig(sources: ConfigSources): Config {
  const { file, flags } = sources;
  const written = file === undefined ? WITHOUT_FILE : readConfigFile(resolve(sources.cwd, file));
  const files: TrustedFile[] =
    file === undefined ? [] : [{ path: resolve(sources.cwd, file), secret: false }];
  const surroundings: Surroundings = {
    trusted: (trusted) => files.push(trusted),
    env: sources.env,
    cpus: sources.cpus,
    folder: file === undefined ? sources.cwd : dirname(resolve(sources.cwd, file)),
    ...(written.literalsRefused === undefined ? {} : { literalsRefused: written.literalsRefused }),
  };
  const schema = configSchema(surroundings);
  const content = withoutEmptySections(written.content);
  const parsed = schema.safeParse(content);
  const problems = [...written.problems];
  if (!parsed.success)
    problems.push(...problemsOf(parsed.error.issues, printable(resolve(sources.cwd, file ?? ''))));

  // Read for itself, so that listeners are checked together with the flags whatever else is wrong in the file;
  // but not when the file's word is unknown.
  const listen =
    written.problems.length > 0
      ? undefined
      : schema.shape.listen.safeParse(sectionOf(content, 'listen')).data;
  const read = readFlags(flags, hostsOf(listen), sources);
  problems.push(...read.problems);
  const listeners = listen === undefined ? undefined : overridden(listen, read.overrides);
  if (listeners !== undefined) problems.push(...listenerProblems(listeners, flags));

  const config =
    parsed.success && listeners !== undefined
      ? complete(parsed.data, listeners, read.overrides, surroundings, problems)
      : undefined;
  if (config === undefined || problems.length > 0) throw new ConfigError(problems, file);
  return files.length === 0 ? config : { ...config, files };
}

interface WrittenConfig {
  readonly content: unknown;
  readonly problems: readonly Problem[];
  readonly literalsRefused?: string;
}

const WITHOUT_FILE: WrittenConfig = { content: undefined, problems: [] };

/** Content and permissions are of one open file: it cannot be exchanged between the two looks. */
function readConfigFile(file: string): WrittenConfig {
  const shown = printable(file);
  let source: string;
  let mode: number;
  try {
    const descriptor = openSync(file, 'r');
    try {
      mode = fstatSync(descriptor).mode;
      source = readFileSync(descriptor, 'utf8');
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    return {
      content: undefined,
      problems: [{ key: '--config', message: `${shown} ${whyUnreadable(error)}` }],
    };
  }
  const yaml = readYaml(source, shown);
  if ('problems' in yaml) return { content: undefined, problems: yaml.problems };
  if ((mode & 0o004) === 0) return { content: yaml.value, problems: [] };
  const literalsRefused = `is a literal secret in a file that every user may read: chmod 600 ${shown}, or take it out with { file: PATH } or { env: NAME }`;
  return { content: yaml.value, problems: [], literalsRefused };
}

/** `tls:` with every line under it commented out is as good as no `tls` at all. */
function withoutEmptySections(content: unknown): unknown {
  if (content === undefined || content === null) return {};
  if (typeof content !== 'object' || Array.isArray(content)) return content;
  return Object.fromEntries(Object.entries(content).filter(([, value]) => value !== null));
}

function sectionOf(content: unknown, name: string): unknown {
  if (typeof content !== 'object' || content === null) return undefined;
  return new Map<string, unknown>(Object.entries(content)).get(name);
}

function hostsOf(listen: ListenConfig | undefined): Record<keyof ListenConfig, string> {
  const host = (name: keyof ListenConfig): string => (listen?.[name] ?? DEFAULT_LISTEN[name]).host;
  return { https: host('https'), http: host('http'), admin: host('admin') };
}

function overridden(listen: ListenConfig, { listen: flags }: Overrides): ListenConfig {
  const pick = (name: keyof ListenConfig) => (flags[name] === undefined ? listen[name] : flags[name]);
  return { https: pick('https'), http: pick('http'), admin: pick('admin') };
}

function listenerProblems(listen: ListenConfig, flags: Flags): Problem[] {
  const key = (name: keyof ListenConfig): string =>
    flags[name] === undefined ? `listen.${name}` : `--${name}`;
  const problems: Problem[] = [];
  if (listen.https === null && listen.http === null)
    problems.push({ key: 'listen', message: 'https and http are both off; takes at least one of them' });
  const pairs = [
    ['http', 'https'],
    ['admin', 'https'],
    ['admin', 'http'],
  ] as const;
  for (const [name, other] of pairs) {
    const [one, two] = [listen[name], listen[other]];
    if (one !== null && two !== null && collide(one, two))
      problems.push({
        key: key(name),
        message: `takes another port than ${key(other)}: both are ${one.port}`,
      });
  }
  return problems;
}

/** What can only be checked against other keys adds to `problems`. */
function complete(
  parsed: FileConfig,
  listen: ListenConfig,
  overrides: Overrides,
  surroundings: Surroundings,
  problems: Problem[],
): Config {
  const { tls, storage, freshness, limits, audit, log } = parsed;
  const upstreams = completeUpstreams(parsed.upstreams, {
    ...surroundings,
    freshness,
    overridingUrl: overrides.upstreamUrl,
  });
  const warm = completeWarm(parsed.warm, upstreamNames(upstreams));
  problems.push(...warm.problems);
  const { auth, problems: authProblems } = completeAuth(parsed.auth, listen, parsed.access.trustedProxies);
  const { roles, problems: roleProblems } = completeRoles(
    parsed.roles,
    upstreamNames(upstreams),
    parsed.auth.mode,
  );
  const access = completeAccess(parsed.access);
  problems.push(...accessProblems(access), ...authProblems, ...roleProblems);
  problems.push(...adminProblems({ listen, auth, roles }));
  return {
    listen,
    tls,
    workers: overrides.workers ?? parsed.workers,
    storage: { ...storage, path: overrides.storagePath ?? storage.path },
    redis: completeRedis(parsed.redis, overrides.redis),
    upstreams,
    access,
    limits,
    auth,
    roles,
    audit,
    warm: warm.schedules,
    log: { level: overrides.logLevel ?? log.level },
  };
}
