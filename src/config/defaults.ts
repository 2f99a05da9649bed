import { bytes, ms, seconds } from '../lib/brand.ts';
import type { AccessConfig, LimitsConfig } from './access/access-config.ts';
import type { FreshnessConfig, ListenAddress, LogLevel, TlsVersion } from './config.ts';

const DAY_SECONDS = 24 * 60 * 60;

export const DEFAULT_LISTEN: Readonly<Record<'https' | 'http' | 'admin', ListenAddress>> = {
  https: { host: '0.0.0.0', port: 5443 },
  http: { host: '127.0.0.1', port: 5000 },
  admin: { host: '127.0.0.1', port: 5001 },
};

/** Paths are relative to the config file's folder, or to the working directory without a file. */
export const DEFAULT_TLS = {
  cert: 'certs/server.crt',
  key: 'certs/server.key',
  minVersion: 'TLSv1.2' satisfies TlsVersion,
  names: ['localhost'],
  autoRotate: true,
} as const;

export const DEFAULT_STORAGE = { path: 'data', maxSize: bytes(50 * 1024 ** 3), highWatermark: 0.85 } as const;

export const DEFAULT_REDIS = {
  prefix: 'pierhead:',
  timeout: ms(100),
  port: 6379,
  sentinelPort: 26_379,
} as const;

export const DEFAULT_FRESHNESS: FreshnessConfig = {
  tag: seconds(60),
  deadline: seconds(1),
  staleIfError: ms(30 * DAY_SECONDS * 1000),
  negative: seconds(15),
  verdict: seconds(60),
  verdictGrace: ms(0),
};

/** Loopback and the private networks: nobody from the open Internet. */
export const DEFAULT_ACCESS: AccessConfig = {
  allow: ['127.0.0.0/8', '::1', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
  deny: [],
  listeners: {},
  trustedProxies: [],
  proxyProtocol: false,
  forbiddenNames: [],
};

/** A whole office behind one NAT fits. */
export const DEFAULT_LIMITS: LimitsConfig = {
  requestsPerSecond: 1000,
  burst: 10_000,
  connectionsPerAddress: 1024,
  connections: 4096,
  minRate: bytes(8 * 1024),
  fillsPerCaller: 256,
  unknownPerSecond: 10,
};

export const DEFAULT_AUTH = {
  tokenTtl: seconds(300),
  ldapUserFilter: '(uid={user})',
  ldapGroupFilter: '(member={dn})',
  ldapTimeout: seconds(5),
  userClaim: 'sub',
  groupsClaim: 'groups',
} as const;

export const DEFAULT_LOG_LEVEL: LogLevel = 'info';

export const DOCKER_HUB = {
  name: 'docker.io',
  host: 'registry-1.docker.io',
  url: 'https://registry-1.docker.io',
  authHost: 'auth.docker.io',
} as const;
