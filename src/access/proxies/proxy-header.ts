import { isIP } from 'node:net';
import { canonicalAddress } from '../ip-rules.ts';

/*
 * The PROXY protocol (haproxy.org/download/2.9/doc/proxy-protocol.txt), versions 1 and 2: what a proxy writes in front of all else on
 * a connection that it passes on.
 */

/** Of version 1, with its CRLF (§2.1). */
const MAX_V1_BYTES = 107;
/** Of version 2: addresses take 232 at most; what proxies add besides (a TLS client's name, the id of a cloud's endpoint) fits. */
const MAX_V2_BYTES = 4096;

const V1_START = Buffer.from('PROXY ');
const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V2_FIXED_BYTES = 16;

export type ProxyHeader =
  | {
      readonly kind: 'whole';
      /** Canonical address of the client; undefined where the proxy speaks for itself (LOCAL), or cannot tell (UNKNOWN, Unix sockets). */
      readonly address: string | undefined;
      /** Bytes that it takes; what follows is the client's. */
      readonly length: number;
    }
  | { readonly kind: 'partial' }
  | { readonly kind: 'malformed' };

const PARTIAL: ProxyHeader = { kind: 'partial' };
const MALFORMED: ProxyHeader = { kind: 'malformed' };

/** `bytes`: all that has come. Partial only as long as it can still become a header within its bounds. */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  if (beginsWith(bytes, V1_START)) return bytes.length < V1_START.length ? PARTIAL : readV1(bytes);
  if (beginsWith(bytes, V2_SIGNATURE)) return bytes.length < V2_FIXED_BYTES ? PARTIAL : readV2(bytes);
  return MALFORMED;
}

/** As far as both go. */
function beginsWith(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, length, 0, length) === 0;
}

function readV1(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, MAX_V1_BYTES).indexOf('\r\n');
  if (end === -1) return bytes.length < MAX_V1_BYTES ? PARTIAL : MALFORMED;
  const [, family, source = '', target = '', ...ports] = bytes.toString('latin1', 0, end).split(' ');
  const length = end + 2;
  // What follows UNKNOWN is to be ignored.
  if (family === 'UNKNOWN') return { kind: 'whole', address: undefined, length };
  const version = family === 'TCP4' ? 4 : family === 'TCP6' ? 6 : undefined;
  if (isIP(source) !== version || isIP(target) !== version) return MALFORMED;
  // A zone is no part of the grammar.
  if (source.includes('%') || ports.length !== 2 || !ports.every(isPort)) return MALFORMED;
  return { kind: 'whole', address: canonicalAddress(source), length };
}

function isPort(text: string): boolean {
  return /^(?:0|[1-9][0-9]{0,4})$/.test(text) && Number(text) <= 65_535;
}

const LOCAL = 0x20;
const PROXY = 0x21;
const UNSPECIFIED = 0x00;
const TCP_OVER_IPV4 = 0x11;
const TCP_OVER_IPV6 = 0x21;
const UNIX_STREAM = 0x31;
/** What each puts in front of its TLVs, as both addresses and both ports. */
const ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [UNSPECIFIED, 0],
  [TCP_OVER_IPV4, 12],
  [TCP_OVER_IPV6, 36],
  [UNIX_STREAM, 216],
]);

function readV2(bytes: Buffer): ProxyHeader {
  const [command, family] = [bytes.readUInt8(12), bytes.readUInt8(13)];
  const length = V2_FIXED_BYTES + bytes.readUInt16BE(14);
  if ((command !== LOCAL && command !== PROXY) || length > MAX_V2_BYTES) return MALFORMED;
  const needed = ADDRESS_BYTES.get(family);
  // With LOCAL the family is to be ignored (§2.2).
  if (command === PROXY && (needed === undefined || length < V2_FIXED_BYTES + needed)) return MALFORMED;
  if (bytes.length < length) return PARTIAL;
  const address = command === PROXY ? addressOf(family, bytes.subarray(V2_FIXED_BYTES)) : undefined;
  return { kind: 'whole', address, length };
}

function addressOf(family: number, block: Buffer): string | undefined {
  if (family === TCP_OVER_IPV4) return block.subarray(0, 4).join('.');
  if (family !== TCP_OVER_IPV6) return undefined;
  const groups = Array.from({ length: 8 }, (_, group) => block.readUInt16BE(group * 2).toString(16));
  return canonicalAddress(groups.join(':'));
}
