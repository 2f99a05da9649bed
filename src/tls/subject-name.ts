import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import { domainToASCII } from 'node:url';

/** One entry of a subjectAltName. `value` is canonical, so that two names are the same when they are equal. */
export interface SubjectName {
  readonly kind: 'dns' | 'ip';
  readonly value: string;
}

/** Underscores are no host names by RFC 1123, but hosts carry them, and Go, OpenSSL and Node take them. */
const DNS_NAME =
  /^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** A last label of digits only is a mistyped IPv4 address: no client would look it up. */
const ENDS_IN_NUMBER = /(?:^|\.)\d+$/;

/** What {@link domainToASCII} would cut a URL's host from, or decode: it is there for letters outside ASCII only. */
const FOREIGN_ASCII = /[^a-z0-9_.*\-\u0080-\uffff]/i;

/** `undefined` for what can stand in no certificate, such as a URL or a name with a port. */
export function parseSubjectName(text: string): SubjectName | undefined {
  if (isIPv4(text)) return { kind: 'ip', value: text };
  if (isIPv6(text)) return text.includes('%') ? undefined : { kind: 'ip', value: canonicalIpv6(text) };
  if (text.length > 253 || FOREIGN_ASCII.test(text)) return undefined;
  const value = domainToASCII(text.endsWith('.') ? text.slice(0, -1) : text);
  return DNS_NAME.test(value) && !ENDS_IN_NUMBER.test(value) ? { kind: 'dns', value } : undefined;
}

/** The network byte order octets of RFC 5280, 4.2.1.6: four or sixteen. */
export function addressToBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = address.split('::');
  const before = groupsOf(head);
  const after = groupsOf(tail ?? '');
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  const bytes = Buffer.alloc(16);
  [...before, ...zeros, ...after].forEach((group, index) => bytes.writeUInt16BE(group, index * 2));
  return bytes;
}

/** The opposite of {@link addressToBytes}; `undefined` when there are neither four nor sixteen octets. */
export function addressFromBytes(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return [...bytes].join('.');
  if (bytes.length !== 16) return undefined;
  const hex = Buffer.from(bytes).toString('hex');
  return canonicalIpv6((hex.match(/.{4}/g) ?? []).join(':'));
}

/** An IPv4-mapped address becomes the IPv4 address, which is what a client compares with. */
function canonicalIpv6(address: string): string {
  const canonical = new SocketAddress({ address, family: 'ipv6' }).address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(canonical)?.[1];
  return mapped ?? canonical;
}

function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}
