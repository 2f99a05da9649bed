import { resolve } from 'node:path';
import type { z } from 'zod';
import { ms, MiB, type Bytes, type Milliseconds } from '../lib/brand.ts';
import {
  CERTIFICATE_NAME_FORM,
  LISTEN_FORM,
  NETWORK_FORM,
  parseCertificateName,
  parseListenAddress,
  parseNetwork,
} from './addresses.ts';
import { LOG_LEVELS, TLS_VERSIONS } from './config.ts';
import {
  DEFAULT_ACCESS,
  DEFAULT_FRESHNESS,
  DEFAULT_LISTEN,
  DEFAULT_LOG_LEVEL,
  DEFAULT_STORAGE,
  DEFAULT_TLS,
} from './defaults.ts';
import { choiceField, field, listOf, scalarField, section, textField, unavailable } from './fields.ts';
import { refusal } from './problem.ts';
import type { Surroundings } from './secrets.ts';
import { DURATION_FORM, parseDuration, parseSize, SIZE_FORM } from './units.ts';
import { upstreamsSchema } from './upstreams.ts';
import { warmSchema } from './warm.ts';

export const MAX_WORKERS = 64;
export const WORKERS_FORM = `auto, or a whole number from 1 to ${MAX_WORKERS}`;
export const PATH_FORM = 'a path';
// Beyond 2^31 ms a timer of Node fires at once; an hour is longer than any client waits.
const MAX_DEADLINE = ms(3_600_000);
const WATERMARK_FORM = 'a number from 0.1 to 0.99, the share of the file system that may be used';

/** The one schema of the config file: it reads, checks, fills in and resolves, and reports all problems at once. */
export function configSchema(surroundings: Surroundings) {
  return section({
    listen: listenSchema().prefault({}),
    tls: tlsSchema(surroundings).prefault({}),
    workers: scalarField((text) => parseWorkers(text, surroundings.cpus), WORKERS_FORM).prefault('auto'),
    storage: storageSchema(surroundings).prefault({}),
    redis: redisSchema().optional(),
    freshness: freshnessSchema().prefault({}),
    upstreams: upstreamsSchema(surroundings).optional(),
    access: accessSchema().prefault({}),
    warm: warmSchema(),
    limits: unavailable(),
    auth: section({ mode: unavailable('none'), edge: unavailable() }).optional(),
    roles: unavailable(),
    audit: section({ to: unavailable() }).optional(),
    log: section({ level: choiceField(LOG_LEVELS).default(DEFAULT_LOG_LEVEL) }).prefault({}),
  });
}

export function parseWorkers(text: string, cpus: number): number | undefined {
  if (text === 'auto') return Math.min(Math.max(Math.trunc(cpus), 1), MAX_WORKERS);
  const count = /^[0-9]{1,2}$/.test(text) ? Number(text) : 0;
  return count >= 1 && count <= MAX_WORKERS ? count : undefined;
}

export function parsePath(text: string, folder: string): string | undefined {
  return text === '' || text.includes('\0') ? undefined : resolve(folder, text);
}

function listenSchema() {
  const listener = (name: keyof typeof DEFAULT_LISTEN) =>
    scalarField(
      (text) => parseListenAddress(text, DEFAULT_LISTEN[name].host),
      `${LISTEN_FORM}, or null to turn it off`,
    )
      .nullable()
      .default(DEFAULT_LISTEN[name]);
  return section({ https: listener('https'), http: listener('http'), admin: listener('admin') });
}

function tlsSchema({ folder }: Surroundings) {
  const path = textField((text) => parsePath(text, folder), PATH_FORM);
  return section({
    cert: path.prefault(DEFAULT_TLS.cert),
    key: path.prefault(DEFAULT_TLS.key),
    minVersion: choiceField(TLS_VERSIONS).default(DEFAULT_TLS.minVersion),
    names: listOf(textField(parseCertificateName, CERTIFICATE_NAME_FORM), 'the names the certificate is for')
      .min(1, { error: 'is empty; takes at least one name' })
      .default([...DEFAULT_TLS.names]),
    autoRotate: unavailable(false),
  });
}

function storageSchema({ folder }: Surroundings) {
  const size = scalarField(
    (text): Bytes | undefined => atLeast(parseSize(text), MiB),
    `${SIZE_FORM}, at least 1MiB`,
  );
  return section({
    path: textField((text) => parsePath(text, folder), PATH_FORM).prefault(DEFAULT_STORAGE.path),
    maxSize: size.default(DEFAULT_STORAGE.maxSize),
    highWatermark: field((input) =>
      typeof input === 'number' && input >= 0.1 && input <= 0.99
        ? { value: input }
        : { problem: refusal(input, WATERMARK_FORM) },
    ).default(DEFAULT_STORAGE.highWatermark),
  });
}

function freshnessSchema() {
  const duration = textField(parseDuration, DURATION_FORM);
  const deadline = textField((text): Milliseconds | undefined => {
    const parsed = parseDuration(text);
    return parsed !== undefined && parsed <= MAX_DEADLINE ? parsed : undefined;
  }, `${DURATION_FORM}, at most 1h`);
  return section({
    tag: duration.default(DEFAULT_FRESHNESS.tag),
    deadline: deadline.default(DEFAULT_FRESHNESS.deadline),
    staleIfError: duration.default(DEFAULT_FRESHNESS.staleIfError),
    negative: duration.default(DEFAULT_FRESHNESS.negative),
  });
}

function accessSchema() {
  const networks = listOf(textField(parseNetwork, NETWORK_FORM), NETWORK_FORM);
  return section({
    allow: networks.default([...DEFAULT_ACCESS.allow]),
    deny: networks.default([...DEFAULT_ACCESS.deny]),
    trustedProxies: unavailable(),
  });
}

/** Known and off. Without a `url` the other keys have no effect, so the harmless ones may stand there. */
function redisSchema() {
  return section({
    url: unavailable(),
    prefix: textField((text) => text, 'a text').optional(),
    timeout: textField(parseDuration, DURATION_FORM).optional(),
    sentinels: unavailable(),
    cluster: unavailable(false),
    tls: unavailable(false),
    username: unavailable(),
    password: unavailable(),
  });
}

function atLeast<T extends number>(value: T | undefined, least: number): T | undefined {
  return value !== undefined && value >= least ? value : undefined;
}

export type FileConfig = z.output<ReturnType<typeof configSchema>>;
