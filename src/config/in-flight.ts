import { isDeepStrictEqual } from 'node:util';
import type { Config } from './config.ts';

/**
 * The configuration of an edge that runs on `running` and has read `read`: with all that can change while connections are
 * open. What is not named here, also a key of a later version, stays as it was until a restart.
 */
export function inFlight(running: Config, read: Config): Config {
  const { tag, deadline, staleIfError, negative } = read.freshness;
  return {
    ...running,
    tls: { ...running.tls, ...read.tls },
    storage: {
      ...running.storage,
      maxSize: read.storage.maxSize,
      highWatermark: read.storage.highWatermark,
    },
    freshness: { ...running.freshness, tag, deadline, staleIfError, negative },
    access: { ...running.access, allow: read.access.allow, deny: read.access.deny },
    log: { ...running.log, level: read.log.level },
  };
}

/** The keys (`storage.maxSize`; `upstreams` as a whole) that differ. Names only: values may be secrets. */
export function changedKeys(from: Config, to: Config): string[] {
  return differences(new Map(Object.entries(from)), new Map(Object.entries(to))).flatMap(
    ([key, one, other]) => {
      if (!isSection(one) || !isSection(other)) return [key];
      const within = differences(new Map(Object.entries(one)), new Map(Object.entries(other)));
      return within.map(([inner]) => `${key}.${inner}`);
    },
  );
}

type Difference = readonly [key: string, one: unknown, other: unknown];

function differences(from: ReadonlyMap<string, unknown>, to: ReadonlyMap<string, unknown>): Difference[] {
  return [...new Set([...from.keys(), ...to.keys()])]
    .map((key): Difference => [key, from.get(key), to.get(key)])
    .filter(([, one, other]) => !isDeepStrictEqual(one, other));
}

function isSection(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
