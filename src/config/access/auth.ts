import type { z } from 'zod';
import { booleanField, choiceField, field, listOf, section, textField } from '../fields.ts';
import type { Problem } from '../problem.ts';
import { readCertificates, readSecret, readSecretFile, readTextFile, type Surroundings } from '../secrets.ts';
import { DURATION_FORM, parseDuration } from '../units.ts';
import { DEFAULT_AUTH } from '../defaults.ts';
import { AUTH_MODES, type AuthConfig, type EdgeAuthConfig } from './access-config.ts';
import { readHtpasswd } from './htpasswd.ts';

const text = (form: string) => textField((value) => (value === '' ? undefined : value), form);
const duration = () => textField(parseDuration, DURATION_FORM);

export function authSchema(surroundings: Surroundings) {
  return section({
    mode: choiceField(AUTH_MODES).default('none'),
    allowPlain: booleanField().default(false),
    edge: section({
      htpasswd: field((input) => readHtpasswd(readSecretFile(input, surroundings))).optional(),
      clientCertificate: clientCertificateSchema(surroundings).optional(),
      token: section({
        enabled: booleanField().default(true),
        ttl: duration().default(DEFAULT_AUTH.tokenTtl),
      }).prefault({}),
      ldap: ldapSchema(surroundings).optional(),
      oidc: oidcSchema(surroundings).optional(),
    }).optional(),
  });
}

function clientCertificateSchema(surroundings: Surroundings) {
  return section({
    ca: field((input) => readCertificates(input, surroundings)),
    crl: field((input) => readTextFile(input, surroundings)).optional(),
    user: choiceField(['commonName', 'subjectAltName']).default('commonName'),
  });
}

function ldapSchema(surroundings: Surroundings) {
  return section({
    url: text('ldaps://HOST[:PORT], or ldap:// for StartTLS').or(
      listOf(text('ldaps://HOST[:PORT], or ldap:// for StartTLS'), 'URLs in order of preference'),
    ),
    ca: field((input) => readCertificates(input, surroundings)).optional(),
    bindDn: text('a distinguished name').optional(),
    bindPassword: field((input) => readSecret(input, surroundings)).optional(),
    userBase: text('a distinguished name'),
    userFilter: text('an LDAP filter with {user} in it').default(DEFAULT_AUTH.ldapUserFilter),
    groupBase: text('a distinguished name').optional(),
    groupFilter: text('an LDAP filter with {dn} or {user} in it').default(DEFAULT_AUTH.ldapGroupFilter),
    timeout: duration().default(DEFAULT_AUTH.ldapTimeout),
  });
}

function oidcSchema(surroundings: Surroundings) {
  return section({
    issuer: text('an https URL'),
    audience: text('the audience that tokens for this edge name'),
    userClaim: text('the name of a claim').default(DEFAULT_AUTH.userClaim),
    groupsClaim: text('the name of a claim').default(DEFAULT_AUTH.groupsClaim),
    ca: field((input) => readCertificates(input, surroundings)).optional(),
  });
}

type ParsedAuth = z.output<ReturnType<typeof authSchema>>;

/** What can only be checked against other keys is in `problems`. */
export function completeAuth(parsed: ParsedAuth): {
  readonly auth: AuthConfig;
  readonly problems: readonly Problem[];
} {
  const { mode, allowPlain, edge } = parsed;
  if (mode === 'none') return { auth: { mode }, problems: [] };
  if (mode === 'upstream') return { auth: { mode, allowPlain }, problems: [] };
  if (edge === undefined || !identifies(edge)) {
    const message =
      'has no source of identities; takes at least one of htpasswd, clientCertificate, ldap and oidc';
    return { auth: { mode: 'none' }, problems: [{ key: 'auth.edge', message }] };
  }
  const { ldap, ...others } = edge;
  const { url, ...directory } = ldap ?? { url: [] };
  const complete = {
    ...others,
    ...(ldap && { ldap: { ...directory, urls: typeof url === 'string' ? [url] : url } }),
  } as EdgeAuthConfig;
  return { auth: { mode, allowPlain, edge: complete }, problems: [] };
}

function identifies({ htpasswd, clientCertificate, ldap, oidc }: NonNullable<ParsedAuth['edge']>): boolean {
  return [htpasswd, clientCertificate, ldap, oidc].some((source) => source !== undefined);
}
