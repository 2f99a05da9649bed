import { isIP, isIPv4, isIPv6 } from 'node:net';
import type { ListenAddress } from './config.ts';

export const LISTEN_FORM = 'HOST:PORT, [IPV6]:PORT, :PORT (every IPv4 address) or PORT';
export const HOST_FORM = 'a host, or HOST:PORT';
export const UPSTREAM_NAME_FORM =
  'a name like a registry host, in lower case: docker.io, registry.corp:5000, central';
export const CERTIFICATE_NAME_FORM = 'a DNS name, *.NAME or an IP address';
export const NETWORK_FORM = 'an IP address or ADDRESS/PREFIX (an IPv4 one as IPv4, not as ::ffff:...)';

const BRACKETED = /^\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?$/;
const PLAIN = /^([^:]+)(?::([0-9]{1,5}))?$/;
const PORT_ONLY = /^(:?)([0-9]{1,5})$/;
const NETWORK = /^([^/]+)(?:\/(0|[1-9][0-9]{0,2}))?$/;
// A hyphen run is always followed by another character: one way to match, so linear. Underscores are no part of
// a host name by RFC 1123, but container networks give them to services.
const LABEL = /^[a-z0-9_]+(?:-+[a-z0-9_]+)*$/;
const MAPPED_IPV4 = /^::ffff:[0-9a-f]{1,4}:[0-9a-f]{1,4}$/;

/**
 * A bare port keeps `fallbackHost`, so that moving a listener to another port never opens it to more of the
 * network; `:PORT` is the usual word for every address.
 */
export function parseListenAddress(text: string, fallbackHost: string): ListenAddress | undefined {
  const short = PORT_ONLY.exec(text);
  if (short !== null) {
    const port = parsePort(short[2]);
    return port === undefined ? undefined : { host: short[1] === ':' ? '0.0.0.0' : fallbackHost, port };
  }
  const address = splitHostPort(text);
  return address?.port === undefined ? undefined : { host: address.host, port: address.port };
}

/** The form in which a `Host` header or `URL.host` is compared: lower case, IPv6 in brackets. */
export function parseHost(text: string): string | undefined {
  const address = splitHostPort(text);
  if (address === undefined) return undefined;
  const host = isIPv6(address.host) ? `[${address.host}]` : address.host;
  return address.port === undefined ? host : `${host}:${address.port}`;
}

/** A name stands as the first component of a `/v2/` path, which is why case and brackets are refused. */
export function parseUpstreamName(text: string): string | undefined {
  return !text.startsWith('[') && parseHost(text) === text ? text : undefined;
}

export function parseCertificateName(text: string): string | undefined {
  if (isIPv6(text)) return canonicalIPv6(text);
  const name = text.toLowerCase();
  const host = name.startsWith('*.') ? name.slice(2) : name;
  const valid = isIPv4(host) ? host === name : isDnsName(host);
  return valid ? name : undefined;
}

/**
 * Mapped IPv4 is refused: a client's address is made IPv4 before it is compared, so that such a rule, a deny above
 * all, would never match.
 */
export function parseNetwork(text: string): string | undefined {
  const match = NETWORK.exec(text);
  const address = match?.[1] ?? '';
  const family = address.includes('%') ? 0 : isIP(address);
  if (match === null || family === 0) return undefined;
  if (Number(match[2] ?? 0) > (family === 4 ? 32 : 128)) return undefined;
  return family === 6 && MAPPED_IPV4.test(canonicalIPv6(address)) ? undefined : text.toLowerCase();
}

/** Only what cannot be anything else: a name that leads to loopback today may lead elsewhere tomorrow. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

/** True when the system cannot bind both. `::` takes the IPv4 port too; port 0 never collides. */
export function collide(one: ListenAddress, other: ListenAddress): boolean {
  if (one.port !== other.port || one.port === 0) return false;
  return one.host === other.host || covers(one.host, other.host) || covers(other.host, one.host);
}

function covers(wildcard: string, host: string): boolean {
  return wildcard === '::' || (wildcard === '0.0.0.0' && !isIPv6(host));
}

/** Lower case, IPv6 without brackets. */
export function splitHostPort(text: string): { host: string; port: number | undefined } | undefined {
  const bracketed = BRACKETED.exec(text);
  const match = bracketed ?? PLAIN.exec(text);
  if (match === null) return undefined;
  const host = bracketed === null ? parseName(match[1] ?? '') : parseIPv6(match[1] ?? '');
  const port = parsePort(match[2]);
  if (host === undefined || (match[2] !== undefined && port === undefined)) return undefined;
  return { host, port };
}

function parseName(text: string): string | undefined {
  const host = text.toLowerCase();
  return isIPv4(host) || isDnsName(host) ? host : undefined;
}

function parseIPv6(text: string): string | undefined {
  return isIPv6(text) ? canonicalIPv6(text) : undefined;
}

function parsePort(digits: string | undefined): number | undefined {
  const port = digits === undefined ? NaN : Number(digits);
  return port <= 65_535 ? port : undefined;
}

function isDnsName(host: string): boolean {
  const labels = host.split('.');
  // An address with a typing error (10.0.0.256) must not pass for a name.
  if (host.length > 253 || /^[0-9]+$/.test(labels.at(-1) ?? '')) return false;
  return labels.every((label) => label.length <= 63 && LABEL.test(label));
}

function canonicalIPv6(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1);
}
