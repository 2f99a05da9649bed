import { isDeepStrictEqual } from 'node:util';
import type { Config } from './config.ts';

/**
 * The configuration of an edge that runs on `running` and has read `read`: with all that can change while connections are
 * open. What is not named here, also a key of a later version, stays as it was until a restart.
 */
export function inFlight(running: Config, read: Config): Config {
  const readUpstreams = new Map(read.upstreams.map((upstream) => [upstream.name, upstream]));
  return {
    ...running,
    tls: { ...running.tls, ...read.tls },
    storage: {
      ...running.storage,
      maxSize: read.storage.maxSize,
      highWatermark: read.storage.highWatermark,
    },
    upstreams: running.upstreams.map((upstream) => ({
      ...upstream,
      freshness: readUpstreams.get(upstream.name)?.freshness ?? upstream.freshness,
    })),
    access: read.access,
    limits: read.limits,
    auth: read.auth,
    roles: read.roles,
    log: { ...running.log, level: read.log.level },
    ...(read.files && { files: read.files }),
  };
}

/**
 * The keys that differ: `storage.maxSize`, `upstreams.docker.io.freshness`, or `upstreams` when one came or went. Names
 * only: values may be secrets.
 */
export function changedKeys(from: Config, to: Config): string[] {
  const { upstreams: ours, files: _, ...here } = from;
  const { upstreams: theirs, files: __, ...there } = to;
  const names = (upstreams: Config['upstreams']): string[] => upstreams.map(({ name }) => name);
  const same = isDeepStrictEqual(names(ours), names(theirs));
  return [
    ...sectionChanges(here, there),
    ...(same
      ? ours.flatMap((upstream, at) =>
          differences(upstream, theirs[at] ?? {}).map(([key]) => `upstreams.${upstream.name}.${key}`),
        )
      : ['upstreams']),
  ];
}

function sectionChanges(from: object, to: object): string[] {
  return differences(from, to).flatMap(([key, one, other]) =>
    isSection(one) && isSection(other) ? differences(one, other).map(([inner]) => `${key}.${inner}`) : [key],
  );
}

type Difference = readonly [key: string, one: unknown, other: unknown];

function differences(from: object, to: object): Difference[] {
  const [one, other] = [
    new Map<string, unknown>(Object.entries(from)),
    new Map<string, unknown>(Object.entries(to)),
  ];
  return [...new Set([...one.keys(), ...other.keys()])]
    .map((key): Difference => [key, one.get(key), other.get(key)])
    .filter(([, one, other]) => !isDeepStrictEqual(one, other));
}

function isSection(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
