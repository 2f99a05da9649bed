import { createHash, X509Certificate } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ClientCertificateConfig } from '../../config/access/access-config.ts';
import type { Clock } from '../../lib/clock.ts';
import { readRevocationLists, type Revocations } from '../../tls/clients/revocation-lists.ts';
import type { Identity } from '../caller.ts';

const MAX_REMEMBERED = 10_000;
/** Intermediates between a client's certificate and one of the CAs. */
const MAX_CHAIN = 8;
const MAX_NAME_LENGTH = 255;
/** What of a subjectAltName names a user; the first kind that the certificate has. */
const NAME_KINDS = ['email', 'DNS', 'URI'];

interface Known {
  readonly identity: Identity | undefined;
  readonly revoked: boolean;
  /** Since the Unix epoch. */
  readonly from: number;
  readonly until: number;
}

/**
 * Who has which client certificate. The TLS layer has verified it under the CA and the revocation lists of the time when the connection
 * was opened; what has changed since is looked at here.
 */
export class ClientCertificates {
  readonly #authorities: readonly X509Certificate[];
  readonly #revocations: Revocations | undefined;
  readonly #user: ClientCertificateConfig['user'];
  readonly #clock: Clock;
  readonly #known = new LRUCache<string, Known>({ max: MAX_REMEMBERED });

  /** @throws for a CA or a revocation list that cannot be read. */
  constructor({ ca, crl, user }: ClientCertificateConfig, clock: Clock) {
    const blocks = ca.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    this.#authorities = blocks.map((block) => new X509Certificate(block));
    this.#revocations = crl === undefined ? undefined : readRevocationLists(crl);
    this.#user = user;
    this.#clock = clock;
  }

  /** Undefined for one that is revoked, out of date or names nobody; while a revocation list is out of date, for all. */
  identityOf(certificate: Uint8Array): Identity | undefined {
    const known = this.#knownOf(certificate);
    return this.#isGood(known) ? known.identity : undefined;
  }

  /** Whether a handshake would still let it in: for connections that were opened before. `certificate` with its chain. */
  admits(certificate: X509Certificate): boolean {
    if (!this.#isGood(this.#knownOf(certificate.raw))) return false;
    let link: X509Certificate | undefined = certificate;
    for (let depth = 0; link !== undefined && depth < MAX_CHAIN; depth += 1) {
      const raw: Uint8Array = link.raw;
      if (this.#revocations?.serials.has(serialOf(link)) === true) return false;
      if (this.#authorities.some((authority) => isIssuer(authority, raw))) return true;
      const issuer: X509Certificate | undefined = link.issuerCertificate;
      link = issuer !== undefined && isIssuer(issuer, raw) ? issuer : undefined;
    }
    return false;
  }

  #knownOf(certificate: Uint8Array): Known {
    const name = thumbprintOf(certificate);
    const known = this.#known.get(name) ?? this.#read(new X509Certificate(certificate));
    this.#known.set(name, known);
    return known;
  }

  #isGood({ revoked, from, until }: Known): boolean {
    const now = this.#clock.now();
    return !revoked && from <= now && now <= until && now <= (this.#revocations?.until ?? Infinity);
  }

  #read(certificate: X509Certificate): Known {
    const user = this.#user === 'commonName' ? commonNameOf(certificate) : alternativeNameOf(certificate);
    return {
      identity: user === undefined ? undefined : { user, groups: [], by: 'certificate' },
      revoked: this.#revocations?.serials.has(serialOf(certificate)) === true,
      from: certificate.validFromDate.getTime(),
      until: certificate.validToDate.getTime(),
    };
  }
}

/** SHA-256, base64url, as a token's `x5t#S256` has it. */
export function thumbprintOf(certificate: Uint8Array): string {
  return createHash('sha256').update(certificate).digest('base64url');
}

function isIssuer(issuer: X509Certificate, raw: Uint8Array): boolean {
  const certificate = new X509Certificate(raw);
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function serialOf({ serialNumber }: X509Certificate): string {
  return serialNumber.replace(/^(?:00)+(?=.)/, '');
}

/** None for a subject with two of them: nobody can say which is meant. */
function commonNameOf(certificate: X509Certificate): string | undefined {
  const subject: Readonly<Record<string, unknown>> = { ...certificate.toLegacyObject().subject };
  return nameOf(subject['CN']);
}

/** Node writes `KIND:VALUE, KIND:VALUE`, a value that could be taken for more than one as a JSON string. */
function alternativeNameOf({ subjectAltName = '' }: X509Certificate): string | undefined {
  const names: [kind: string, value: string][] = [];
  const entry = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y;
  while (entry.lastIndex < subjectAltName.length) {
    const [, kind, value] = entry.exec(subjectAltName) ?? [];
    // What cannot be read whole says nothing for certain.
    if (kind === undefined || value === undefined) return undefined;
    names.push([kind, value.startsWith('"') ? String(JSON.parse(value)) : value]);
  }
  for (const wanted of NAME_KINDS) {
    const found = names.find(([kind]) => kind === wanted);
    if (found !== undefined) return nameOf(found[1]);
  }
  return undefined;
}

function nameOf(text: unknown): string | undefined {
  if (typeof text !== 'string' || text === '' || text.length > MAX_NAME_LENGTH) return undefined;
  return /\p{Cc}/u.test(text) ? undefined : text;
}
