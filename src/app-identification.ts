import { createHmac } from 'node:crypto';
import { NO_IDENTIFICATION, type Identification } from './access/identification.ts';
import { ClientCertificates } from './access/edge/client-certificates.ts';
import { EdgeIdentification } from './access/edge/edge-identification.ts';
import { EdgeTokens } from './access/edge/edge-tokens.ts';
import { HtpasswdPasswords } from './access/edge/htpasswd-passwords.ts';
import { PasswordChecks } from './access/edge/password-checks.ts';
import type { Identity } from './access/caller.ts';
import { createSources } from './access/directory/create-sources.ts';
import type { IdentityEvents } from './app-identity-events.ts';
import type { AuthConfig, EdgeAuthConfig } from './config/access/access-config.ts';
import type { Clock } from './lib/clock.ts';
import type { TokenService } from './server/token-route.ts';

export interface IdentificationSurroundings {
  readonly clock: Clock;
  /** From `deriveTokenKey`. */
  readonly tokenKey: Uint8Array;
  readonly events: IdentityEvents;
}

/** How callers are known, and what follows from it. */
export interface Identifying {
  readonly identification: Identification;
  readonly certificates: ClientCertificates | undefined;
  readonly tokens: TokenService | undefined;
  /** It is in force from here on: sources of identities elsewhere are looked for. */
  readonly start: () => void;
  /** Others are in force: what is being looked up goes on to its end. */
  readonly close: () => void;
}

/** @throws for sources that cannot be used. */
export function createIdentification(
  auth: AuthConfig,
  surroundings: IdentificationSurroundings,
): Identifying {
  if (auth.mode !== 'edge')
    return {
      identification: NO_IDENTIFICATION,
      certificates: undefined,
      tokens: undefined,
      start: surroundings.events.replaced,
      close: () => undefined,
    };
  return createEdge(auth.edge, surroundings);
}

function createEdge(
  edge: EdgeAuthConfig,
  { clock, tokenKey, events }: IdentificationSurroundings,
): Identifying {
  const htpasswd = edge.htpasswd && new HtpasswdPasswords(edge.htpasswd);
  const sources = createSources(edge, clock, events);
  const passwords = htpasswd ? [htpasswd, ...sources.passwords] : sources.passwords;
  const certificates = edge.clientCertificate && new ClientCertificates(edge.clientCertificate, clock);
  const tokens = edge.token.enabled ? new EdgeTokens(tokenKey, edge.token.ttl, clock) : undefined;
  const identification = new EdgeIdentification({
    certificates,
    passwords: passwords.length === 0 ? undefined : new PasswordChecks(passwords, clock),
    tokens,
    bearers: sources.bearers,
    realm: edge.token.realm,
    versionOf: versions(edge, htpasswd, tokenKey),
    events,
  });
  const start = (): void => {
    events.replaced();
    sources.start();
  };
  const identifying = { identification, certificates, start, close: sources.close };
  if (tokens === undefined) return { ...identifying, tokens };
  const service: TokenService = {
    ttlSeconds: tokens.ttlSeconds,
    issue: (caller, certificate, scopes) =>
      tokens.issue(identification.holderOf(caller, certificate), scopes),
  };
  return { ...identifying, tokens: service };
}

/** A token of a source that is not configured any more is nobody's, and so is one from before a password was changed. */
function versions(
  edge: EdgeAuthConfig,
  htpasswd: HtpasswdPasswords | undefined,
  key: Uint8Array,
): (by: Identity['by'], user: string) => string | undefined {
  return (by, user) => {
    if (by === 'ldap') return edge.ldap && by;
    if (by === 'oidc') return edge.oidc && by;
    const version = by === 'htpasswd' ? htpasswd?.versionOf(user) : undefined;
    if (version === undefined) return undefined;
    const digest = createHmac('sha256', key).update(`version of ${user}\n${version}`).digest('base64url');
    return digest.slice(0, 22);
  };
}
