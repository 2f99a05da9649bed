import { createSecureContext } from 'node:tls';
import type { z } from 'zod';
import { seconds, type Milliseconds } from '../../lib/brand.ts';
import { booleanField, choiceField, field, section, textField } from '../fields.ts';
import type { Problem, Reading } from '../problem.ts';
import { readCertificates, readSecretFile, readTextFile, type Surroundings } from '../secrets.ts';
import { DURATION_FORM, parseDuration } from '../units.ts';
import { isLoopback } from '../addresses.ts';
import type { Config, ListenConfig } from '../config.ts';
import { DEFAULT_AUTH } from '../defaults.ts';
import { AUTH_MODES, type AuthConfig, type EdgeAuthConfig } from './access-config.ts';
import { ldapSchema, oidcSchema } from './directory.ts';
import { readHtpasswd } from './htpasswd.ts';

/** Shorter, and clients would ask for one with each request; longer, and a token would outlast what it says. */
const SHORTEST_TTL = seconds(60);
const LONGEST_TTL = seconds(3600);

export function authSchema(surroundings: Surroundings) {
  return section({
    mode: choiceField(AUTH_MODES).default('none'),
    allowPlain: booleanField().default(false),
    edge: section({
      htpasswd: field((input) => readHtpasswd(readSecretFile(input, surroundings))).optional(),
      clientCertificate: clientCertificateSchema(surroundings).optional(),
      token: section({
        enabled: booleanField().default(true),
        ttl: textField((text) => inRange(parseDuration(text)), TTL_FORM).default(DEFAULT_AUTH.tokenTtl),
        realm: textField(parseRealm, REALM_FORM).optional(),
      }).prefault({}),
      ldap: ldapSchema(surroundings).optional(),
      oidc: oidcSchema(surroundings).optional(),
    }).optional(),
  });
}

function clientCertificateSchema(surroundings: Surroundings) {
  return section({
    ca: field((input) => readCertificates(input, surroundings)),
    crl: field((input) => readRevocations(readTextFile(input, surroundings))).optional(),
    user: choiceField(['commonName', 'subjectAltName']).default('commonName'),
  });
}

type ParsedAuth = z.output<ReturnType<typeof authSchema>>;

/** What can only be checked against other keys is in `problems`. */
export function completeAuth(
  parsed: ParsedAuth,
  listen: ListenConfig,
  trustedProxies: readonly string[],
): {
  readonly auth: AuthConfig;
  readonly problems: readonly Problem[];
} {
  const { mode, allowPlain, edge } = parsed;
  if (mode === 'none') return { auth: { mode }, problems: [] };
  const problems = plainProblems({ listen, auth: { mode: 'upstream', allowPlain } });
  if (mode === 'upstream') return { auth: { mode, allowPlain }, problems };
  if (edge === undefined || !identifies(edge)) {
    const message =
      'has no source of identities; takes at least one of htpasswd, clientCertificate, ldap and oidc';
    return { auth: { mode: 'none' }, problems: [...problems, { key: 'auth.edge', message }] };
  }
  if (edge.clientCertificate !== undefined && listen.https === null)
    problems.push({
      key: 'auth.edge.clientCertificate',
      message: 'is of no use with listen.https off: certificates are shown in TLS',
    });
  if (
    edge.token.enabled &&
    edge.token.realm === undefined &&
    isProxied(listen, { allowPlain, trustedProxies })
  )
    problems.push({
      key: 'auth.edge.token.realm',
      message: `is missing; takes ${REALM_FORM}, since a proxy ends TLS and clients would be sent to http:// with their passwords`,
    });
  const { ldap, ...others } = edge;
  const { url: urls, ...directory } = ldap ?? { url: [] };
  const complete = {
    ...others,
    ...(ldap && { ldap: { ...directory, urls } }),
  } as EdgeAuthConfig;
  return { auth: { mode, allowPlain, edge: complete }, problems };
}

/** Passwords and tokens are for nobody on the way to read. */
export function plainProblems({ listen: { http }, auth }: Pick<Config, 'listen' | 'auth'>): Problem[] {
  if (auth.mode === 'none' || auth.allowPlain || http === null || isLoopback(http.host)) return [];
  const message = `is ${http.host}, where passwords and tokens would cross the network in the clear; takes a loopback address or null, or auth.allowPlain: true behind a proxy that ends TLS`;
  return [{ key: 'listen.http', message }];
}

/** Whether clients may well speak TLS where this edge hears plain HTTP. */
function isProxied(
  { http }: ListenConfig,
  {
    allowPlain,
    trustedProxies,
  }: { readonly allowPlain: boolean; readonly trustedProxies: readonly string[] },
): boolean {
  return http !== null && ((allowPlain && !isLoopback(http.host)) || trustedProxies.length > 0);
}

/** An OpenSSL that does not take it now would take nobody's certificate later. */
function readRevocations(content: Reading<string>): Reading<string> {
  if ('problem' in content) return content;
  try {
    const lists = content.value.match(/-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----/g) ?? [];
    if (lists.length > 0 && createSecureContext({ crl: lists }) !== undefined) return content;
  } catch {
    // OpenSSL's own words say less than these.
  }
  return { problem: 'the file is no certificate revocation list in PEM' };
}

const TTL_FORM = `${DURATION_FORM}, from 60s to 1h`;
const REALM_FORM = 'the https URL of the token service as clients reach it (http:// on this host only)';

function inRange(ttl: Milliseconds | undefined): Milliseconds | undefined {
  return ttl !== undefined && ttl >= SHORTEST_TTL && ttl <= LONGEST_TTL ? ttl : undefined;
}

/** It stands between quotes in a challenge. */
function parseRealm(text: string): string | undefined {
  const url = /^https?:\/\/[\w.~:[\]/-]+$/.test(text) ? URL.parse(text) : null;
  if (url === null) return undefined;
  return url.protocol === 'https:' || isLoopback(url.hostname.replace(/^\[|\]$/g, '')) ? text : undefined;
}

function identifies({ htpasswd, clientCertificate, ldap, oidc }: NonNullable<ParsedAuth['edge']>): boolean {
  return [htpasswd, clientCertificate, ldap, oidc].some((source) => source !== undefined);
}
