import { X509Certificate } from 'node:crypto';
import type { Milliseconds } from '../../lib/brand.ts';
import { daysLeft, validityWarnings } from '../describe-certificates.ts';
import { readRevocationLists } from './revocation-lists.ts';

/** Who issues clients' certificates, and what they have revoked. */
export interface ClientAuthorities {
  /** PEM texts. */
  readonly ca: string;
  readonly crl?: string;
}

/** A list that ends sooner is one that somebody has forgotten to renew. */
const LIST_WARNING = 24 * 60 * 60 * 1000;

/** Sentences for the operator on what keeps clients with certificates out, or soon will. */
export function clientAuthorityWarnings({ ca, crl }: ClientAuthorities, now: Milliseconds): string[] {
  const key = 'auth.edge.clientCertificate';
  const authorities = authoritiesOf(ca);
  const warnings = authorities.flatMap((authority) =>
    validityWarnings(`${key}.ca (${nameOf(authority)})`, authority, now),
  );
  if (!authorities.some((authority) => authority.checkIssued(authority)))
    warnings.push(`${key}.ca holds no self-signed CA: nobody is let in by certificate; add the root.`);
  if (crl === undefined) return warnings;
  const { until, count } = readRevocationLists(crl);
  if (count < authorities.length)
    warnings.push(
      `${key}.crl holds fewer lists than ${key}.ca holds CAs: certificates of a CA without one are not taken.`,
    );
  if (until !== undefined && until <= now)
    warnings.push(
      `${key}.crl is out of date since ${dateOf(until)}: nobody is let in by certificate until there is a new one.`,
    );
  else if (until !== undefined && until - now < LIST_WARNING)
    warnings.push(`${key}.crl is out of date on ${dateOf(until)}: put a new one there before that.`);
  return warnings;
}

/** For the operator: whose certificates are taken. */
export function clientAuthoritiesText({ ca, crl }: ClientAuthorities, now: Milliseconds): string {
  const authorities = authoritiesOf(ca).map(
    (authority) => `${nameOf(authority)}, ${daysLeft(authority, now)} days left`,
  );
  const revoked =
    crl === undefined ? 'no revocation list' : `${readRevocationLists(crl).serials.size} revoked`;
  return `${authorities.join('; ')}; ${revoked}`;
}

function authoritiesOf(ca: string): X509Certificate[] {
  const blocks = ca.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

function nameOf({ subject }: X509Certificate): string {
  return subject.split('\n').join(', ');
}

function dateOf(time: Milliseconds): string {
  return new Date(time).toISOString();
}
