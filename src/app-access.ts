import { Access, NO_VERDICTS, type Verdicts } from './access/authorize.ts';
import { NO_IDENTIFICATION } from './access/identification.ts';
import { NO_LIMITS } from './access/request-limits.ts';
import { Roles } from './access/roles.ts';
import type { Config } from './config/config.ts';
import type { InForce } from './server/pipeline.ts';

/** Who may do what, and how much of it: plain data, sent to the workers. */
export type AccessSettings = Pick<Config, 'access' | 'limits' | 'auth' | 'roles'>;

export function accessSettings({ access, limits, auth, roles }: Config): AccessSettings {
  return { access, limits, auth, roles };
}

/** What stands between a request and the cache. @throws for settings that cannot be used; nothing is in force then. */
export function createAccess(
  { access, auth, roles }: AccessSettings,
  verdicts: Verdicts = NO_VERDICTS,
): InForce {
  return {
    access: new Access({
      identification: NO_IDENTIFICATION,
      roles: new Roles(roles, auth.mode),
      forbiddenNames: access.forbiddenNames,
      verdicts: auth.mode === 'upstream' ? verdicts : undefined,
    }),
    limits: NO_LIMITS,
  };
}
