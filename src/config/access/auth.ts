import type { z } from 'zod';
import { booleanField, choiceField, field, section, textField } from '../fields.ts';
import type { Problem } from '../problem.ts';
import { readCertificates, readSecretFile, readTextFile, type Surroundings } from '../secrets.ts';
import { DURATION_FORM, parseDuration } from '../units.ts';
import { DEFAULT_AUTH } from '../defaults.ts';
import { AUTH_MODES, type AuthConfig, type EdgeAuthConfig } from './access-config.ts';
import { ldapSchema, oidcSchema } from './directory.ts';
import { readHtpasswd } from './htpasswd.ts';

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
  const { url: urls, ...directory } = ldap ?? { url: [] };
  const complete = {
    ...others,
    ...(ldap && { ldap: { ...directory, urls } }),
  } as EdgeAuthConfig;
  return { auth: { mode, allowPlain, edge: complete }, problems: [] };
}

function identifies({ htpasswd, clientCertificate, ldap, oidc }: NonNullable<ParsedAuth['edge']>): boolean {
  return [htpasswd, clientCertificate, ldap, oidc].some((source) => source !== undefined);
}
