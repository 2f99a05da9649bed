import { resolve } from 'node:path';
import type { z } from 'zod';
import { MiB, type Bytes } from '../lib/brand.ts';
import { CERTIFICATE_NAME_FORM, LISTEN_FORM, parseCertificateName, parseListenAddress } from './addresses.ts';
import { authSchema } from './access/auth.ts';
import { limitsSchema } from './access/limits.ts';
import { accessSchema } from './access/networks.ts';
import { rolesSchema } from './access/roles.ts';
import { AUDIT_STREAMS, LOG_LEVELS, TLS_VERSIONS } from './config.ts';
import { DEFAULT_LISTEN, DEFAULT_LOG_LEVEL, DEFAULT_STORAGE, DEFAULT_TLS } from './defaults.ts';
import { booleanField, choiceField, field, listOf, scalarField, section, textField } from './fields.ts';
import { refusal } from './problem.ts';
import { redisSchema } from './redis.ts';
import type { Surroundings } from './secrets.ts';
import { parseSize, SIZE_FORM } from './units.ts';
import { freshnessSchema } from './upstream/freshness.ts';
import { upstreamsSchema } from './upstreams.ts';
import { warmSchema } from './warm.ts';

export const MAX_WORKERS = 64;
const MAX_CERTIFICATES = 100;
export const WORKERS_FORM = `auto, or a whole number from 1 to ${MAX_WORKERS}`;
export const PATH_FORM = 'a path';
const WATERMARK_FORM = 'a number from 0.1 to 0.99, the share of the file system that may be used';

/** The one schema of the config file: it reads, checks, fills in and resolves, and reports all problems at once. */
export function configSchema(surroundings: Surroundings) {
  return section({
    listen: listenSchema().prefault({}),
    tls: tlsSchema(surroundings).prefault({}),
    workers: scalarField((text) => parseWorkers(text, surroundings.cpus), WORKERS_FORM).prefault('auto'),
    storage: storageSchema(surroundings).prefault({}),
    redis: redisSchema(surroundings).optional(),
    freshness: freshnessSchema().prefault({}),
    upstreams: upstreamsSchema(surroundings).optional(),
    access: accessSchema().prefault({}),
    limits: limitsSchema().prefault({}),
    auth: authSchema(surroundings).prefault({}),
    roles: rolesSchema(),
    warm: warmSchema(),
    audit: auditSchema(surroundings).prefault({}),
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
    autoRotate: booleanField().default(DEFAULT_TLS.autoRotate),
    certificates: listOf(section({ cert: path, key: path }), 'further pairs, each with cert and key')
      .max(MAX_CERTIFICATES, { error: `is too long; takes at most ${MAX_CERTIFICATES} pairs` })
      .default([]),
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

function auditSchema({ folder }: Surroundings) {
  const place = (text: string): string | undefined =>
    AUDIT_STREAMS.some((stream) => stream === text) ? text : parsePath(text, folder);
  return section({
    to: textField(place, `a path, ${AUDIT_STREAMS.join(', ')}, or null for no audit log`)
      .nullable()
      .default(null),
  });
}

function atLeast<T extends number>(value: T | undefined, least: number): T | undefined {
  return value !== undefined && value >= least ? value : undefined;
}

export type FileConfig = z.output<ReturnType<typeof configSchema>>;
