import { LISTEN_FORM, parseListenAddress } from './addresses.ts';
import { LOG_LEVELS, type ListenConfig, type LogLevel } from './config.ts';
import { readText } from './fields.ts';
import type { Problem } from './problem.ts';
import { parsePath, parseWorkers, PATH_FORM, WORKERS_FORM } from './schema.ts';
import { parseRedisUrl, REDIS_URL_FORM, type RedisUrl } from './redis.ts';
import { parseUpstreamUrl, URL_FORM } from './upstreams.ts';

/** The command line's options as they were typed. */
export interface Flags {
  readonly upstream?: string;
  readonly data?: string;
  readonly http?: string;
  readonly https?: string;
  readonly admin?: string;
  readonly redis?: string;
  readonly workers?: string;
  readonly logLevel?: string;
}

/** What the flags say; `undefined` leaves the file's word. */
export interface Overrides {
  readonly upstreamUrl: string | undefined;
  readonly storagePath: string | undefined;
  readonly listen: { readonly [Name in keyof ListenConfig]: ListenConfig[Name] | undefined };
  readonly redis: RedisUrl | null | undefined;
  readonly workers: number | undefined;
  readonly logLevel: LogLevel | undefined;
}

/** `configured` are the listeners without the flags: a flag that is only a port keeps their host. */
export function readFlags(
  flags: Flags,
  configured: { readonly [Name in keyof ListenConfig]: string },
  { cwd, cpus }: { readonly cwd: string; readonly cpus: number },
): { overrides: Overrides; problems: Problem[] } {
  const problems: Problem[] = [];
  const read = <T>(
    key: string,
    text: string | undefined,
    parse: (text: string) => T | undefined,
    takes: string,
  ): T | undefined => {
    if (text === undefined) return undefined;
    const reading = readText(text, parse, takes);
    if ('value' in reading) return reading.value;
    problems.push({ key, message: reading.problem });
    return undefined;
  };
  const listener = (name: keyof ListenConfig) =>
    flags[name] === 'off'
      ? null
      : read(
          `--${name}`,
          flags[name],
          (text) => parseListenAddress(text, configured[name]),
          `${LISTEN_FORM}, or off`,
        );
  const overrides: Overrides = {
    upstreamUrl: read('--upstream', flags.upstream, parseUpstreamUrl, URL_FORM),
    storagePath: read('--data', flags.data, (text) => parsePath(text, cwd), PATH_FORM),
    listen: { https: listener('https'), http: listener('http'), admin: listener('admin') },
    redis:
      flags.redis === 'off' ? null : read('--redis', flags.redis, parseRedisUrl, `${REDIS_URL_FORM}, or off`),
    workers: read('--workers', flags.workers, (text) => parseWorkers(text, cpus), WORKERS_FORM),
    logLevel: read(
      '--log-level',
      flags.logLevel,
      (text) => LOG_LEVELS.find((level) => level === text),
      `one of ${LOG_LEVELS.join(', ')}`,
    ),
  };
  return { overrides, problems };
}
