import { availableParallelism } from 'node:os';
import type { Config } from '../config/config.ts';
import type { Flags } from '../config/flags.ts';
import { loadConfig } from '../config/load.ts';

/** The options that choose a configuration, as the command line gives them. */
export interface EdgeOptions extends Flags {
  readonly config?: string;
}

/** @throws {ConfigError} */
export function configOf(options: EdgeOptions): Config {
  const { config: file, upstream, data, http, https, admin, redis, workers, logLevel } = options;
  const given = { upstream, data, http, https, admin, redis, workers, logLevel };
  const flags = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return loadConfig({
    ...(file !== undefined && { file }),
    flags,
    env: process.env,
    cwd: process.cwd(),
    cpus: availableParallelism(),
  });
}
