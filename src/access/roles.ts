import type { AuthConfig, RoleConfig } from '../config/access/access-config.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import type { Caller } from './caller.ts';

/** What a request does to a repository. */
export type Action = 'pull' | 'push' | 'delete';

/** Who may do what. Without any role: everybody who is let in and, with `auth.mode: edge`, known. */
export class Roles {
  readonly #roles: readonly RoleConfig[];
  readonly #mode: AuthConfig['mode'];

  constructor(roles: readonly RoleConfig[], mode: AuthConfig['mode']) {
    this.#roles = roles;
    this.#mode = mode;
  }

  /** What lets the caller do it, fit for the record; undefined when nothing does. */
  granting(caller: Caller, _repository: RepositoryRef, _action: Action): string | undefined {
    return this.anything(caller) ? (caller.identity?.by ?? 'network') : undefined;
  }

  /** Whether the caller may do anything at all to any repository. */
  anything(caller: Caller): boolean {
    if (this.#roles.length > 0) return false;
    return this.#mode !== 'edge' || caller.identity !== undefined;
  }
}
