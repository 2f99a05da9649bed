import { createHash, randomBytes, sign, type KeyObject } from 'node:crypto';
import { CertificateError } from './certificate-error.ts';
import * as der from './der.ts';
import { GENERAL_NAME, OID } from './der.ts';
import { readCertificateFields } from './read-certificate.ts';
import { addressToBytes, type SubjectName } from './subject-name.ts';
import type { Milliseconds } from '../lib/brand.ts';

/** BIT STRING contents: the count of unused bits, then the named bits of RFC 5280, 4.2.1.3. */
const KEY_USAGE = { digitalSignature: '\x07\x80', keyCertSignAndCrlSign: '\x01\x06' } as const;

export interface DistinguishedName {
  readonly commonName: string;
  readonly organization?: string;
}

export type Profile =
  | { readonly kind: 'authority' }
  | { readonly kind: 'server'; readonly names: readonly SubjectName[] }
  | { readonly kind: 'client' };

export interface CertificateTemplate {
  readonly subject: DistinguishedName;
  readonly publicKey: KeyObject;
  readonly notBefore: Milliseconds;
  readonly notAfter: Milliseconds;
  readonly profile: Profile;
}

/** The key that signs, and its certificate (DER), which there is none of when a certificate signs itself. */
export interface Signer {
  readonly privateKey: KeyObject;
  readonly certificate?: Buffer;
}

/**
 * An X.509 v3 certificate (RFC 5280) in PEM. node-forge can sign with RSA only, so it just lays out the structure;
 * `node:crypto` signs it.
 * @throws CertificateError for a signing key that is neither EC nor RSA, or a signer's certificate that is not readable.
 */
export function signCertificate(template: CertificateTemplate, signer: Signer): string {
  const spki = template.publicKey.export({ type: 'spki', format: 'der' });
  const subject = distinguishedName(template.subject);
  const subjectKeyIdentifier = keyIdentifier(spki);
  const issuer =
    signer.certificate === undefined ? { subject, subjectKeyIdentifier } : issuerOf(signer.certificate);
  const algorithm = signatureAlgorithm(signer.privateKey);
  const extensions = [
    ...profileExtensions(template.profile),
    extension(OID.subjectKeyIdentifier, der.octetString(subjectKeyIdentifier)),
  ];
  if (issuer.subjectKeyIdentifier !== undefined) {
    const identifier = der.implicit(0, issuer.subjectKeyIdentifier);
    extensions.push(extension(OID.authorityKeyIdentifier, der.sequence([identifier])));
  }
  const tbs = der.sequence([
    der.explicit(0, der.integer('\x02')),
    der.integer(serialNumber()),
    algorithm,
    issuer.subject,
    der.sequence([der.time(template.notBefore), der.time(template.notAfter)]),
    subject,
    der.decode(spki),
    der.explicit(3, der.sequence(extensions)),
  ]);
  const signature = sign('sha256', der.encode(tbs), signer.privateKey).toString('latin1');
  return toPem(der.encode(der.sequence([tbs, algorithm, der.bitString(`\0${signature}`)])));
}

function profileExtensions(profile: Profile): der.Asn1[] {
  switch (profile.kind) {
    case 'authority':
      return [
        // cA, pathLenConstraint 0: it signs no other CA.
        extension(OID.basicConstraints, der.sequence([der.yes(), der.integer('\0')]), 'critical'),
        extension(OID.keyUsage, der.bitString(KEY_USAGE.keyCertSignAndCrlSign), 'critical'),
      ];
    case 'server':
      return [
        ...leafExtensions(OID.serverAuth),
        extension(OID.subjectAltName, der.sequence(profile.names.map(generalName))),
      ];
    case 'client':
      return leafExtensions(OID.clientAuth);
  }
}

function leafExtensions(purpose: string): der.Asn1[] {
  return [
    extension(OID.basicConstraints, der.sequence([]), 'critical'),
    extension(OID.keyUsage, der.bitString(KEY_USAGE.digitalSignature), 'critical'),
    extension(OID.extKeyUsage, der.sequence([der.objectIdentifier(purpose)])),
  ];
}

function extension(oid: string, value: der.Asn1, critical?: 'critical'): der.Asn1 {
  const flag = critical === undefined ? [] : [der.yes()];
  return der.sequence([
    der.objectIdentifier(oid),
    ...flag,
    der.octetString(der.encode(value).toString('latin1')),
  ]);
}

function generalName(name: SubjectName): der.Asn1 {
  const octets = name.kind === 'ip' ? addressToBytes(name.value).toString('latin1') : name.value;
  return der.implicit(GENERAL_NAME[name.kind], octets);
}

function distinguishedName(name: DistinguishedName): der.Asn1 {
  const attribute = (oid: string, text: string): der.Asn1 =>
    der.set([der.sequence([der.objectIdentifier(oid), der.utf8String(text)])]);
  const organization =
    name.organization === undefined ? [] : [attribute(OID.organization, name.organization)];
  return der.sequence([...organization, attribute(OID.commonName, name.commonName)]);
}

function issuerOf(certificate: Buffer): { subject: der.Asn1; subjectKeyIdentifier: string | undefined } {
  const fields = readCertificateFields(certificate);
  if (fields === undefined)
    throw new CertificateError('The certificate of the local CA cannot be taken apart.');
  return fields;
}

function signatureAlgorithm(key: KeyObject): der.Asn1 {
  const type = key.asymmetricKeyType ?? 'unknown';
  if (type === 'ec') return der.sequence([der.objectIdentifier(OID.ecdsaWithSha256)]);
  if (type === 'rsa') return der.sequence([der.objectIdentifier(OID.rsaWithSha256), der.nothing()]);
  throw new CertificateError(`The key of the local CA is of type ${type}: take an EC or RSA key.`);
}

/** 16 octets: the first is neither zero nor over 127, so that the number is positive and as short as DER wants it. */
function serialNumber(): string {
  const serial = randomBytes(16);
  serial.writeUInt8((serial.readUInt8(0) & 0x7f) | 0x40, 0);
  return serial.toString('latin1');
}

/** RFC 7093, 2, method 4: without SHA-1, which some builds of OpenSSL refuse to compute. */
function keyIdentifier(spki: Buffer): string {
  return createHash('sha256').update(spki).digest().subarray(0, 20).toString('latin1');
}

function toPem(certificate: Buffer): string {
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
