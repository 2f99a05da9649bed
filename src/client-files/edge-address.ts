import { isIPv4, isIPv6 } from 'node:net';
import { splitHostPort } from '../config/addresses.ts';
import type { ListenAddress } from '../config/config.ts';

export interface EdgeAddress {
  /** IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Why clients may not find the edge there, and what to do. */
  readonly warning?: string;
}

export interface AddressFacts {
  /** `listen.https` or `listen.http`. */
  readonly key: string;
  readonly listener: ListenAddress;
  /** `tls.names`. */
  readonly names: readonly string[];
  readonly hostname: string;
  /** Whether clients accept the edge under that name. */
  readonly covered: (host: string) => boolean;
}

/**
 * Where clients reach an edge when nobody has said it: by the first of its names that means more than this machine, or
 * what comes nearest to it.
 */
export function guessAddress(facts: AddressFacts): EdgeAddress {
  const { key, listener, names, hostname, covered } = facts;
  const { host, port } = listener;
  const here = `${hostPort(host, port)}: only clients on this machine reach it`;
  if (isLoopback(host)) return { host, port, warning: `${key} is ${here}.` };
  const [named] = names.filter((name) => !isLoopback(name) && !name.startsWith('*.'));
  if (named !== undefined) return { host: named, port };
  const bound = host === '0.0.0.0' || host === '::' ? undefined : host;
  if (bound !== undefined && covered(bound)) return { host: bound, port };
  const own = splitHostPort(hostname);
  const advice = 'Put the name that clients know the edge by into tls.names, or give it with --host.';
  if (own !== undefined && own.port === undefined && !isLoopback(own.host) && covered(own.host)) {
    const warning = `tls.names has no name for other machines, so this machine's own is taken: ${own.host}. ${advice}`;
    return { host: own.host, port, warning };
  }
  const warning = `tls.names has no name for other machines: these files work on this machine only. ${advice}`;
  return { host: 'localhost', port, warning };
}

export function hostPort(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** By its own word: what a name resolves to is not asked. */
export function isLoopback(host: string): boolean {
  if (isIPv4(host)) return host.startsWith('127.');
  return host === '::1' || host === 'localhost' || host.endsWith('.localhost');
}
