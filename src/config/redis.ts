import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { z } from 'zod';
import type { Milliseconds } from '../lib/brand.ts';
import { parseHost } from './addresses.ts';
import type { RedisAddress, RedisConfig, RedisTlsConfig } from './config.ts';
import { DEFAULT_REDIS } from './defaults.ts';
import { booleanField, field, listOf, section, textField } from './fields.ts';
import { refusal, refusalOfKind, type Reading } from './problem.ts';
import { readCertificates, readSecret, readSecretFile, type Surroundings } from './secrets.ts';
import { DURATION_FORM, parseDuration } from './units.ts';

export const REDIS_URL_FORM =
  'redis://HOST:PORT, rediss://HOST:PORT (TLS) or unix:///PATH, without user info (that is what redis.username and redis.password are for)';
const PREFIX_FORM = 'a text of 1 to 128 printable ASCII characters without blanks, such as pierhead:';
const NODE_FORM = 'HOST or HOST:PORT';
const SECRET_CHARACTERS = 32;
const LONGEST_TIMEOUT = 10_000;

/** What a URL says, and no more: options in it would be a second language for the same keys. */
export interface RedisUrl {
  readonly address: RedisAddress;
  readonly tls: boolean;
  readonly database: number;
}

export function parseRedisUrl(text: string): RedisUrl | undefined {
  const socket = /^unix:\/\/(\/[^\p{Cc}?#]+)$/u.exec(text)?.[1];
  if (socket !== undefined) return { address: { path: socket }, tls: false, database: 0 };
  const match = /^(rediss?):\/\/([^/?#@\s]+)(?:\/([0-9]{1,4})?)?$/i.exec(text);
  const address = match?.[2] === undefined ? undefined : parseNode(match[2], DEFAULT_REDIS.port);
  if (match === null || address === undefined) return undefined;
  return { address, tls: match[1]?.toLowerCase() === 'rediss', database: Number(match[3] ?? 0) };
}

/** The `redis` of a file. Without a `url` or `sentinels` the other keys are checked, and have no effect. */
export function redisSchema(surroundings: Surroundings) {
  return redisSection(surroundings).superRefine(checkTogether);
}

function redisSection(surroundings: Surroundings) {
  const secret = field((input) => readSecret(input, surroundings));
  const text = (takes: string) => textField((value) => (value === '' ? undefined : value), takes);
  const node = (port: number) => textField((value) => parseNode(value, port), NODE_FORM);
  return section({
    url: textField(parseRedisUrl, `${REDIS_URL_FORM}, or null`).nullable().optional(),
    prefix: textField(parsePrefix, PREFIX_FORM).default(DEFAULT_REDIS.prefix),
    timeout: textField(parseTimeout, `${DURATION_FORM}, from 1ms to 10s`).default(DEFAULT_REDIS.timeout),
    secret: field((input) => readSiteSecret(input, surroundings)).optional(),
    sentinels: listOf(node(DEFAULT_REDIS.sentinelPort), 'the Sentinels, HOST:PORT each').optional(),
    name: text('the name that the Sentinels have for the master').optional(),
    sentinelUsername: text('a text').optional(),
    sentinelPassword: secret.optional(),
    cluster: booleanField().default(false),
    nodes: listOf(node(DEFAULT_REDIS.port), 'further nodes of the cluster, HOST:PORT each').optional(),
    tls: field((input) => readTls(input, surroundings)).optional(),
    username: text('a text').optional(),
    password: secret.optional(),
  });
}

type RedisSection = z.output<ReturnType<typeof redisSection>>;

/** `flag` takes the place of wherever the file points to: `null` turns Redis off. */
export function completeRedis(
  section: RedisSection | undefined,
  flag: RedisUrl | null | undefined,
): RedisConfig | null {
  const given: RedisSection = section ?? {
    prefix: DEFAULT_REDIS.prefix,
    timeout: DEFAULT_REDIS.timeout,
    cluster: false,
  };
  const { sentinels, name, cluster, tls } = given;
  const common = { prefix: given.prefix, timeout: given.timeout, ...secretsOf(given) };
  if (flag === undefined && sentinels !== undefined && sentinels.length > 0) {
    const mode = { mode: 'sentinel', nodes: sentinels, database: 0 } as const;
    return { ...common, ...mode, ...(name !== undefined && { name }), ...(tls !== undefined && { tls }) };
  }
  const url = flag === undefined ? given.url : flag;
  if (url === undefined || url === null) return null;
  return {
    ...common,
    mode: cluster ? 'cluster' : 'standalone',
    nodes: [url.address, ...(cluster ? (given.nodes ?? []) : [])],
    database: url.database,
    ...((tls !== undefined || url.tls) && { tls: tls ?? {} }),
  };
}

function secretsOf(section: RedisSection): Partial<RedisConfig> {
  const { secret, username, password, sentinelUsername, sentinelPassword } = section;
  return {
    ...(secret !== undefined && { secret }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(sentinelUsername !== undefined && { sentinelUsername }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
  };
}

function checkTogether(section: RedisSection, context: z.core.$RefinementCtx): void {
  const refuse = (key: keyof RedisSection, message: string): void =>
    context.addIssue({ code: 'custom', message, path: [key] });
  const { url, sentinels, name, cluster, nodes, username, password } = section;
  const bySentinels = sentinels !== undefined && sentinels.length > 0;
  if (bySentinels && url)
    refuse('url', 'stands beside sentinels; takes one of the two: the Sentinels know the address');
  if (bySentinels && name === undefined)
    refuse('name', 'is missing; takes the name that the Sentinels have for the master');
  if (bySentinels && cluster) refuse('cluster', 'stands beside sentinels; a cluster has none');
  if (!bySentinels && name !== undefined) refuse('name', 'takes effect with sentinels only; leave it out');
  if (nodes !== undefined && !cluster) refuse('nodes', 'takes effect with cluster: true only');
  if (cluster && url && (url.database !== 0 || 'path' in url.address))
    refuse('url', 'is of a cluster; takes redis://HOST:PORT without a database');
  if (username !== undefined && password === undefined) refuse('password', 'is missing; an ACL user has one');
}

function parseNode(text: string, port: number): { host: string; port: number } | undefined {
  const parsed = parseHost(text);
  if (parsed === undefined) return undefined;
  const url = new URL(`tcp://${parsed}`);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, port: url.port === '' ? port : Number(url.port) };
}

function parsePrefix(text: string): string | undefined {
  return /^[\x21-\x7e]{1,128}$/.test(text) ? text : undefined;
}

function parseTimeout(text: string): Milliseconds | undefined {
  const timeout = parseDuration(text);
  return timeout !== undefined && timeout >= 1 && timeout <= LONGEST_TIMEOUT ? timeout : undefined;
}

function readSiteSecret(input: unknown, surroundings: Surroundings): Reading<string> {
  const reading = readSecret(input, surroundings);
  if ('problem' in reading || reading.value.length >= SECRET_CHARACTERS) return reading;
  const advice = `make one with "openssl rand -base64 32" and give it to every edge of the site`;
  return { problem: `has fewer than ${SECRET_CHARACTERS} characters; ${advice}` };
}

const TLS_FORM = 'true, or a map with the keys ca, cert, key, servername';

/** `false` and `null` are undefined: no TLS, unless the URL says so. */
function readTls(input: unknown, surroundings: Surroundings): Reading<RedisTlsConfig | undefined> {
  if (input === false || input === null) return { value: undefined };
  if (input === true) return { value: {} };
  if (typeof input !== 'object' || Array.isArray(input)) return { problem: refusalOfKind(input, TLS_FORM) };
  const given = new Map<string, unknown>(Object.entries(input));
  const unknown = [...given.keys()].find((key) => !['ca', 'cert', 'key', 'servername'].includes(key));
  if (unknown !== undefined) return { problem: `holds a key that is not known; takes ${TLS_FORM}` };
  const found: { ca?: string; cert?: string; key?: string; servername?: string } = {};
  for (const [name, read] of [
    ['ca', readCertificates],
    ['cert', readCertificates],
    ['key', readSecretFile],
  ] as const) {
    if (!given.has(name)) continue;
    const reading = read(given.get(name), surroundings);
    if ('problem' in reading) return { problem: `${name}: ${reading.problem}` };
    found[name] = reading.value;
  }
  if (given.has('servername')) {
    const servername = given.get('servername');
    if (typeof servername !== 'string' || parseHost(servername) !== servername)
      return { problem: `servername: ${refusal(servername, 'a host name')}` };
    found.servername = servername;
  }
  const problem = pairProblem(found);
  return problem === undefined ? { value: found } : { problem };
}

function pairProblem({ cert, key }: RedisTlsConfig): string | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) return 'takes cert and key together, or neither';
  try {
    const fits = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
    return fits ? undefined : 'key: is not the key of cert';
  } catch {
    return 'key: is not a file with an unencrypted PEM private key';
  }
}
