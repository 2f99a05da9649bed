import type { IncomingHttpHeaders } from 'node:http';
import { forwardedForHops, forwardedHops, type Hop } from './forwarded.ts';

/** What cannot be told is closed: the client could be anybody. The messages are fit for the record. */
export class UnknownClient extends Error {
  override readonly name = 'UnknownClient';
}

/**
 * Whom a request comes from: the peer, or, as far as trusted proxies vouch for it, the rightmost hop that is no trusted proxy. What
 * stands to the left of that is what the client itself may have written. Where all hops are trusted it is the leftmost.
 * @param peer canonical address of who has connected.
 * @throws {UnknownClient} when a trusted proxy names nobody, writes what cannot be read, or when `Forwarded` and `X-Forwarded-For` disagree: a
 * proxy that writes the one may pass on the other as the client has made it up.
 */
export function clientAddress(
  peer: string,
  headers: IncomingHttpHeaders,
  trusts: (address: string) => boolean,
): string {
  const { forwarded, 'x-forwarded-for': forwardedFor } = headers;
  if ((forwarded === undefined && forwardedFor === undefined) || !trusts(peer)) return peer;
  const addresses: string[] = [];
  if (forwarded !== undefined)
    addresses.push(rightmostUntrusted(forwardedHops(forwarded), trusts, 'Forwarded'));
  if (forwardedFor !== undefined) {
    const value = typeof forwardedFor === 'string' ? forwardedFor : forwardedFor.join(',');
    addresses.push(rightmostUntrusted(forwardedForHops(value), trusts, 'X-Forwarded-For'));
  }
  const [address = peer, other = address] = addresses;
  if (address !== other) throw new UnknownClient('Forwarded and X-Forwarded-For name different clients');
  return address;
}

function rightmostUntrusted(
  hops: readonly Hop[] | undefined,
  trusts: (address: string) => boolean,
  header: string,
): string {
  const at = hops?.findLastIndex((address) => address === undefined || !trusts(address)) ?? -1;
  const hop = hops?.[Math.max(at, 0)];
  if (hop === undefined) throw new UnknownClient(`${header} does not tell the client's address`);
  return hop;
}
