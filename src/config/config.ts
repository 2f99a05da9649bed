import type { Bytes, Milliseconds } from '../lib/brand.ts';
import type { AccessConfig, AuthConfig, LimitsConfig, RoleConfig } from './access/access-config.ts';
import type { TrustedFile } from './file-trust.ts';
import type { WarmConfig } from './warm.ts';

/** Where a listener binds: an IP address (IPv6 without brackets) or a host name; port 0 lets the system choose. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** `null` is a listener that is turned off. */
export interface ListenConfig {
  readonly https: ListenAddress | null;
  readonly http: ListenAddress | null;
  readonly admin: ListenAddress | null;
}

export const TLS_VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
export type TlsVersion = (typeof TLS_VERSIONS)[number];

export interface TlsConfig {
  /** Absolute; the file is made on first start, so it need not exist yet. */
  readonly cert: string;
  /** Absolute; as `cert`. */
  readonly key: string;
  readonly minVersion: TlsVersion;
  /** DNS names (`*.` in front allowed) and IP addresses that a certificate made here is valid for. */
  readonly names: readonly string[];
  /** Whether a certificate that was made here is renewed by itself, long before its end. */
  readonly autoRotate: boolean;
  /** Further pairs, which a client chooses by the name it asks for; absolute. */
  readonly certificates: readonly { readonly cert: string; readonly key: string }[];
}

export interface StorageConfig {
  /** Absolute. */
  readonly path: string;
  readonly maxSize: Bytes;
  /** The share of the file system, 0.1 to 0.99, above which blobs are evicted. */
  readonly highWatermark: number;
}

/** A TCP address, or the path of a Unix socket. */
export type RedisAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** The shared metadata store. */
export interface RedisConfig {
  readonly mode: 'standalone' | 'sentinel' | 'cluster';
  /** At least one: the server, the Sentinels, or nodes of the cluster. */
  readonly nodes: readonly RedisAddress[];
  /** With Sentinels: what they call the master. */
  readonly name?: string;
  readonly database: number;
  /** In front of every key. */
  readonly prefix: string;
  /** The longest that a call may take. */
  readonly timeout: Milliseconds;
  /** Shared by all edges of a site: what Redis holds is sealed under it. */
  readonly secret?: string;
  readonly tls?: RedisTlsConfig;
  readonly username?: string;
  readonly password?: string;
  readonly sentinelUsername?: string;
  readonly sentinelPassword?: string;
}

export interface RedisTlsConfig {
  /** PEM text, as `cert` and `key`. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
}

export interface FreshnessConfig {
  readonly tag: Milliseconds;
  readonly deadline: Milliseconds;
  readonly staleIfError: Milliseconds;
  readonly negative: Milliseconds;
  /** How long an upstream's word on who may read a repository is taken. */
  readonly verdict: Milliseconds;
  /** How much longer, while the upstream cannot be asked. */
  readonly verdictGrace: Milliseconds;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

interface CredentialProgram {
  /** The whole environment of the program. */
  readonly env: Readonly<Record<string, string>>;
  /** How long what it gave is used when it does not say so itself. */
  readonly ttl: Milliseconds;
}

/** Where an upstream's credentials come from: the file, a docker credential helper, a program. */
export type UpstreamCredentials =
  | Credentials
  | (CredentialProgram & { readonly helper: string; readonly server: string })
  | (CredentialProgram & {
      /** An absolute path, or a name for the `PATH`. */
      readonly exec: { readonly file: string; readonly args: readonly string[] };
      /** Set: the program prints the password alone. */
      readonly username?: string;
    });

export interface UpstreamConfig {
  readonly name: string;
  /** At least one, in order of preference; http or https, no user info, no query, no slash at the end. */
  readonly urls: readonly string[];
  /** `Host` headers that choose this upstream: lower case, with the port where one was written. */
  readonly hosts: readonly string[];
  /** True for exactly one upstream. */
  readonly default: boolean;
  readonly credentials?: UpstreamCredentials;
  /** Hosts besides the upstream's own that may be asked for tokens. */
  readonly authHosts: readonly string[];
  /** PEM text of one or more certificates. */
  readonly ca?: string;
  /** The edge's own, with what this upstream has otherwise. */
  readonly freshness: FreshnessConfig;
  /** Whether clients may push to it through this edge, with their own credentials. */
  readonly push: boolean;
  /** Whether `_catalog` shows its repositories; absent is no. */
  readonly catalog?: boolean;
}

export const AUDIT_STREAMS = ['stdout', 'syslog'] as const;

export interface AuditConfig {
  /** An absolute path, one of {@link AUDIT_STREAMS}, or null for none. */
  readonly to: string | null;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * What an edge runs on, checked and complete. Plain data, since it is sent to the worker processes. It holds the
 * secrets themselves: never log it whole.
 */
export interface Config {
  readonly listen: ListenConfig;
  readonly tls: TlsConfig;
  readonly workers: number;
  readonly storage: StorageConfig;
  /** `null` is an edge that shares nothing. */
  readonly redis: RedisConfig | null;
  readonly upstreams: readonly UpstreamConfig[];
  readonly access: AccessConfig;
  readonly limits: LimitsConfig;
  readonly auth: AuthConfig;
  /** Empty: whoever is let in may do all. */
  readonly roles: readonly RoleConfig[];
  readonly audit: AuditConfig;
  readonly warm: readonly WarmConfig[];
  readonly log: { readonly level: LogLevel };
  /** What all of it was read from; absent without a file. */
  readonly files?: readonly TrustedFile[];
}
