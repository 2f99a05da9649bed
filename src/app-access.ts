import type { X509Certificate } from 'node:crypto';
import { Access, NO_VERDICTS, type Verdicts } from './access/authorize.ts';
import { NO_LIMITS, type RequestLimits } from './access/request-limits.ts';
import { Roles } from './access/roles.ts';
import { createIdentification } from './app-identification.ts';
import { UNHEARD, type IdentityEvents } from './app-identity-events.ts';
import type { Config } from './config/config.ts';
import { systemClock } from './lib/clock.ts';
import type { InForce as PipelineInForce } from './server/pipeline.ts';

/** Who may do what, and how much of it: plain data, sent to the workers. A secret: it holds the key of the edge's tokens. */
export interface AccessSettings extends Pick<Config, 'access' | 'limits' | 'auth' | 'roles'> {
  readonly tokenKey: Uint8Array;
}

export interface InForce extends PipelineInForce {
  /** Whether a handshake would let this client certificate in, by the settings that are in force. */
  readonly admits: (certificate: X509Certificate) => boolean;
  /** It is in force from here on: sources of identities elsewhere are looked for. */
  readonly start: () => void;
  /** Others are in force: what is being looked up goes on to its end. */
  readonly close: () => void;
}

/** @param tokenKey from `deriveTokenKey` */
export function accessSettings(
  { access, limits, auth, roles }: Config,
  tokenKey: Uint8Array,
): AccessSettings {
  return { access, limits, auth, roles, tokenKey };
}

export interface AccessSurroundings {
  readonly limits: RequestLimits;
  readonly events: IdentityEvents;
  /** Asked with `auth.mode: upstream` only. */
  readonly verdicts: Verdicts;
}

/** For settings that are only tried. */
const TRIED: AccessSurroundings = { limits: NO_LIMITS, events: UNHEARD, verdicts: NO_VERDICTS };

/** What stands between a request and the cache. @throws for settings that cannot be used; nothing is in force then. */
export function createAccess(
  { access, auth, roles, tokenKey }: AccessSettings,
  { limits, events, verdicts }: AccessSurroundings = TRIED,
): InForce {
  const { identification, certificates, tokens, start, close } = createIdentification(auth, {
    clock: systemClock,
    tokenKey,
    events,
  });
  return {
    access: new Access({
      identification,
      roles: new Roles(roles, auth.mode),
      forbiddenNames: access.forbiddenNames,
      verdicts: auth.mode === 'upstream' ? verdicts : undefined,
    }),
    limits,
    tokens,
    admits: (certificate) => certificates?.admits(certificate) === true,
    start,
    close,
  };
}
