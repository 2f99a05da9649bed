import type { Bytes, Milliseconds } from '../lib/brand.ts';
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
}

export interface StorageConfig {
  /** Absolute. */
  readonly path: string;
  readonly maxSize: Bytes;
  /** The share of the file system, 0.1 to 0.99, above which blobs are evicted. */
  readonly highWatermark: number;
}

export interface FreshnessConfig {
  readonly tag: Milliseconds;
  readonly deadline: Milliseconds;
  readonly staleIfError: Milliseconds;
  readonly negative: Milliseconds;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface UpstreamConfig {
  readonly name: string;
  /** At least one, in order of preference; http or https, no user info, no query, no slash at the end. */
  readonly urls: readonly string[];
  /** `Host` headers that choose this upstream: lower case, with the port where one was written. */
  readonly hosts: readonly string[];
  /** True for exactly one upstream. */
  readonly default: boolean;
  readonly credentials?: Credentials;
  /** Hosts besides the upstream's own that may be asked for tokens. */
  readonly authHosts: readonly string[];
  /** PEM text of one or more certificates. */
  readonly ca?: string;
  readonly push: false;
}

export interface AccessConfig {
  /** IP addresses, or networks as ADDRESS/PREFIX. */
  readonly allow: readonly string[];
  readonly deny: readonly string[];
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
  readonly freshness: FreshnessConfig;
  readonly upstreams: readonly UpstreamConfig[];
  readonly access: AccessConfig;
  readonly warm: readonly WarmConfig[];
  readonly log: { readonly level: LogLevel };
}
