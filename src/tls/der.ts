import forge from 'node-forge';
import type { asn1 as Asn1Namespace } from 'node-forge';

/** A node of an ASN.1 structure. Octets are strings of one character an octet, as node-forge has them. */
export type Asn1 = Asn1Namespace.Asn1;

const { asn1 } = forge;
const { Class, Type } = asn1;

/** The object identifiers of RFC 5280 and RFC 3279 that certificates of ours carry. */
export const OID = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  rsaWithSha256: '1.2.840.113549.1.1.11',
} as const;

/** GeneralName tags of RFC 5280, 4.2.1.6. */
export const GENERAL_NAME = { dns: 2, ip: 7 } as const;

/** From here on RFC 5280, 4.1.2.5 wants GeneralizedTime instead of UTCTime. */
const GENERALIZED_TIME_FROM = Date.UTC(2050, 0, 1);

export const sequence = (items: Asn1[]): Asn1 => asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, items);
export const set = (items: Asn1[]): Asn1 => asn1.create(Class.UNIVERSAL, Type.SET, true, items);
export const integer = (octets: string): Asn1 => universal(Type.INTEGER, octets);
export const bitString = (octets: string): Asn1 => universal(Type.BITSTRING, octets);
export const octetString = (octets: string): Asn1 => universal(Type.OCTETSTRING, octets);
export const utf8String = (text: string): Asn1 => universal(Type.UTF8, Buffer.from(text).toString('latin1'));
export const objectIdentifier = (oid: string): Asn1 => universal(Type.OID, asn1.oidToDer(oid).getBytes());
export const nothing = (): Asn1 => universal(Type.NULL, '');
/** FALSE is never written: it is the default wherever X.509 has a BOOLEAN. */
export const yes = (): Asn1 => universal(Type.BOOLEAN, '\xff');
/** `[tag] IMPLICIT` octets. */
export const implicit = (tag: number, octets: string): Asn1 =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag, false, octets);
/** `[tag] EXPLICIT` node. */
export const explicit = (tag: number, node: Asn1): Asn1 =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag, true, [node]);

export function time(epochMs: number): Asn1 {
  const date = new Date(epochMs);
  return epochMs < GENERALIZED_TIME_FROM
    ? universal(Type.UTCTIME, asn1.dateToUtcTime(date))
    : universal(Type.GENERALIZEDTIME, asn1.dateToGeneralizedTime(date));
}

export const encode = (node: Asn1): Buffer => Buffer.from(asn1.toDer(node).getBytes(), 'latin1');
/** @throws Error for octets that are no DER. */
export const decode = (octets: Buffer): Asn1 => asn1.fromDer(octets.toString('latin1'));

export const childrenOf = (node: Asn1 | undefined): Asn1[] => (Array.isArray(node?.value) ? node.value : []);
export const octetsOf = (node: Asn1 | undefined): string =>
  typeof node?.value === 'string' ? node.value : '';
export const oidOf = (node: Asn1 | undefined): string => asn1.derToOid(octetsOf(node));
/** The number of a context-specific tag, `undefined` for any other. */
export const tagOf = (node: Asn1 | undefined): number | undefined =>
  node?.tagClass === Class.CONTEXT_SPECIFIC ? node.type : undefined;

function universal(type: Asn1Namespace.Type, octets: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, type, false, octets);
}
