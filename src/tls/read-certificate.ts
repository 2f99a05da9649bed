import { childrenOf, decode, octetsOf, oidOf, tagOf, type Asn1, GENERAL_NAME, OID } from './der.ts';
import { addressFromBytes, type SubjectName } from './subject-name.ts';

/** What `node:crypto` does not tell of a certificate, or tells only as text for people. */
export interface CertificateFields {
  /** As it stands there: an issuer name must repeat it octet for octet. */
  readonly subject: Asn1;
  readonly organization: string | undefined;
  readonly subjectKeyIdentifier: string | undefined;
  readonly names: readonly SubjectName[];
}

/** `undefined` for a certificate that node-forge cannot take apart, though OpenSSL could. */
export function readCertificateFields(der: Buffer): CertificateFields | undefined {
  try {
    return fieldsOf(childrenOf(childrenOf(decode(der))[0]));
  } catch {
    // node-forge throws plain Errors only, for DER that it does not take; that is the answer.
    return undefined;
  }
}

/** RFC 5280, 4.1: version [0] (missing in v1), serial, signature, issuer, validity, subject, key, …, extensions [3]. */
function fieldsOf(fields: Asn1[]): CertificateFields | undefined {
  const subject = fields[tagOf(fields[0]) === 0 ? 5 : 4];
  if (subject === undefined) return undefined;
  const extensions = new Map<string, Asn1>();
  for (const extension of childrenOf(childrenOf(fields.find((field) => tagOf(field) === 3))[0])) {
    const parts = childrenOf(extension);
    extensions.set(oidOf(parts[0]), decode(Buffer.from(octetsOf(parts.at(-1)), 'latin1')));
  }
  const identifier = extensions.get(OID.subjectKeyIdentifier);
  return {
    subject,
    organization: attributeOf(subject, OID.organization),
    subjectKeyIdentifier: identifier === undefined ? undefined : octetsOf(identifier),
    names: childrenOf(extensions.get(OID.subjectAltName)).flatMap(subjectNameOf),
  };
}

function attributeOf(name: Asn1, oid: string): string | undefined {
  for (const attributes of childrenOf(name)) {
    const [type, value] = childrenOf(childrenOf(attributes)[0]);
    if (oidOf(type) === oid) return octetsOf(value);
  }
  return undefined;
}

/** Mail addresses, URIs and the like are no names of a server. */
function subjectNameOf(name: Asn1): SubjectName[] {
  const octets = octetsOf(name);
  if (tagOf(name) === GENERAL_NAME.dns) return [{ kind: 'dns', value: octets.toLowerCase() }];
  const address =
    tagOf(name) === GENERAL_NAME.ip ? addressFromBytes(Buffer.from(octets, 'latin1')) : undefined;
  return address === undefined ? [] : [{ kind: 'ip', value: address }];
}
