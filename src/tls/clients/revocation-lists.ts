import { ms, type Milliseconds } from '../../lib/brand.ts';

/** What certificate revocation lists say together. */
export interface Revocations {
  /** Upper case hex, as `X509Certificate.serialNumber` has them. */
  readonly serials: ReadonlySet<string>;
  /** When the first of the lists is out of date, since the Unix epoch; undefined when none says so. */
  readonly until: Milliseconds | undefined;
  readonly count: number;
}

interface Node {
  readonly tag: number;
  readonly content: Buffer;
}

const TAG = { integer: 0x02, utcTime: 0x17, generalizedTime: 0x18, sequence: 0x30 } as const;
const BLOCK = /-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----/g;

/** The PEM blocks of revocation lists; OpenSSL reads the first of a text only. */
export function revocationListsOf(pem: string): readonly string[] {
  return pem.match(BLOCK) ?? [];
}

/**
 * Serial numbers and ends of lists that OpenSSL has taken (it checks their signatures in each handshake). Read by hand, since workers
 * do not load the library that makes certificates.
 * @throws RangeError for what is no DER.
 */
export function readRevocationLists(pem: string): Revocations {
  const serials = new Set<string>();
  const ends: number[] = [];
  const lists = revocationListsOf(pem);
  for (const block of lists) {
    const der = Buffer.from(block.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
    // RFC 5280, 5.1: version, signature, issuer, thisUpdate, nextUpdate, revokedCertificates, extensions.
    const fields = childrenOf(childrenOf(der)[0]?.content).flatMap(({ content }, at) =>
      at === 0 ? childrenOf(content) : [],
    );
    const times = fields.filter(({ tag }) => tag === TAG.utcTime || tag === TAG.generalizedTime);
    if (times[1] !== undefined) ends.push(timeOf(times[1]));
    const lastTime = fields.findLastIndex((field) => times.includes(field));
    const revoked = fields[lastTime + 1];
    if (revoked?.tag !== TAG.sequence) continue;
    for (const entry of childrenOf(revoked.content)) {
      const [serial] = childrenOf(entry.content);
      if (serial?.tag === TAG.integer) serials.add(serialText(serial.content));
    }
  }
  return { serials, until: ends.length === 0 ? undefined : ms(Math.min(...ends)), count: lists.length };
}

function childrenOf(content: Buffer = Buffer.alloc(0)): Node[] {
  const nodes: Node[] = [];
  for (let at = 0; at < content.length;) {
    const tag = content.readUInt8(at);
    const short = content.readUInt8(at + 1);
    const lengthBytes = short < 0x80 ? 0 : short & 0x7f;
    const start = at + 2 + lengthBytes;
    const length = lengthBytes === 0 ? short : content.readUIntBE(at + 2, lengthBytes);
    if (start + length > content.length) throw new RangeError('a revocation list is cut off');
    nodes.push({ tag, content: content.subarray(start, start + length) });
    at = start + length;
  }
  return nodes;
}

function serialText(octets: Buffer): string {
  const hex = octets
    .toString('hex')
    .toUpperCase()
    .replace(/^(?:00)+(?=.)/, '');
  return hex;
}

/** `YYMMDDHHMMSSZ`, 50 and later being of the last century, or with the whole year (RFC 5280, 4.1.2.5). */
function timeOf({ tag, content }: Node): number {
  const text = content.toString('latin1');
  const year = tag === TAG.utcTime ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}` : text;
  const [, ...parts] = /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(year) ?? [];
  const [y = NaN, month = NaN, day = NaN, hour = NaN, minute = NaN, second = NaN] = parts.map(Number);
  return Date.UTC(y, month - 1, day, hour, minute, second);
}
