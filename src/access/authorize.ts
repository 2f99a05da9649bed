import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import type { Reference } from '../oci/reference.ts';
import type { RepositoryName } from '../oci/repository-name.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import { callerKey } from './caller-key.ts';
import type { Caller, Evidence, Identity } from './caller.ts';
import type { Identification } from './identification.ts';
import { Denied, Unauthorized } from './refusals.ts';
import type { Action, Roles } from './roles.ts';

export type { Action };

/** What a request wants to do. */
export interface Wanted {
  readonly repository: RepositoryRef;
  /** As the client's path has it. */
  readonly name: RepositoryName;
  readonly action: Action;
  /** What of the repository, where the request says so: the upstream can be asked for that. */
  readonly object:
    | { readonly kind: 'manifest'; readonly reference: Reference }
    | { readonly kind: 'blob'; readonly digest: Digest }
    | undefined;
  /** The request's `Host`. */
  readonly host: string | undefined;
}

/** The upstream's word on a caller, with `auth.mode: upstream`. */
export interface Verdicts {
  /** Resolves when the upstream lets the caller read it. @throws {Unauthorized | Denied | RegistryError} */
  demand(caller: Caller, wanted: Wanted): Promise<void> | undefined;
  /** The same for `/v2/`. */
  ping(caller: Caller, upstream: string): Promise<void> | undefined;
  /** The upstream has taken what the caller sent it: they are who they say, where it takes nothing from nobody. */
  accepted(caller: Caller, upstream: string): Promise<void>;
  /** Who the upstream has let in; undefined before it has, and where it lets in everybody. */
  identityOf(caller: Caller): Identity | undefined;
}

/** Where the upstreams cannot be asked nobody gets in. */
export const NO_VERDICTS: Verdicts = {
  demand: () => Promise.reject(new Denied('no upstream was asked', true)),
  ping: () => Promise.reject(new Denied('no upstream was asked', false)),
  accepted: async () => undefined,
  identityOf: () => undefined,
};

/** What is nothing to an upstream: podman's Basic without a name and a password, and what no header can be made of. */
const NOTHING_SHOWN = /^basic og==$|[^\x20-\x7e]/i;

export interface AccessParts {
  readonly identification: Identification;
  readonly roles: Roles;
  readonly forbiddenNames: readonly string[];
  readonly verdicts?: Verdicts | undefined;
}

/** Who may do what: the one maker of a {@link GrantedRepository}. Replaced as a whole by a reload. */
export class Access {
  readonly #parts: AccessParts;

  constructor(parts: AccessParts) {
    this.#parts = parts;
  }

  /** Not a promise where none is needed. @throws as {@link Identification.identify} */
  identify(evidence: Evidence): Caller | Promise<Caller> {
    const { identification, verdicts } = this.#parts;
    const { address, authorization } = evidence;
    if (verdicts !== undefined) {
      const shown =
        authorization === undefined || NOTHING_SHOWN.test(authorization) ? undefined : authorization;
      return { address, identity: undefined, authorization: shown };
    }
    const identity = identification.identify(evidence);
    return identity instanceof Promise
      ? identity.then((known) => ({ address, identity: known }))
      : { address, identity };
  }

  /**
   * `/v2/`: where clients learn whether, and how, they have to say who they are.
   * @param upstream the one that is meant; throws when there is none such.
   * @throws {Unauthorized} for a caller who may do nothing as nobody.
   */
  ping(caller: Caller, host: string | undefined, upstream: () => string): Promise<void> | undefined {
    const { identification, roles, verdicts } = this.#parts;
    if (verdicts !== undefined) return verdicts.ping(caller, upstream());
    const challenges = identification.challenges(undefined, host);
    if (challenges.length === 0 || caller.identity !== undefined) return undefined;
    if (roles.anything(caller)) return undefined;
    throw new Unauthorized('say who you are', challenges);
  }

  /** Not a promise where none is needed. @throws {Unauthorized | Denied} and what the upstream says no with. */
  authorize(caller: Caller, wanted: Wanted): GrantedRepository | Promise<GrantedRepository> {
    this.#judge(caller, wanted);
    const { verdicts } = this.#parts;
    // Nothing is as good as something to show, as long as the upstream is shown the same as when it was asked.
    const shown = verdicts === undefined ? undefined : (caller.authorization ?? '');
    const granted = grant(caller, wanted.repository, shown);
    const verdict = verdicts?.demand(caller, wanted);
    return verdict === undefined ? granted : verdict.then(() => granted);
  }

  /** Who has pushed, as the upstream that took it knows them. */
  async pusher(caller: Caller, upstream: string): Promise<Identity | undefined> {
    await this.#parts.verdicts?.accepted(caller, upstream);
    return this.identityOf(caller);
  }

  /** The caller by name, as far as that is known by now. */
  identityOf(caller: Caller): Identity | undefined {
    return caller.identity ?? this.#parts.verdicts?.identityOf(caller);
  }

  /** No upstream says of a name in a list whether this caller may see it. */
  get showsCatalog(): boolean {
    return this.#parts.verdicts === undefined;
  }

  /** A list shows what its reader could also ask for by name, and nothing else. */
  isVisible(caller: Caller, repository: RepositoryRef, name: RepositoryName): boolean {
    try {
      this.#judge(caller, { repository, name, action: 'pull', object: undefined, host: undefined });
      return true;
    } catch (error) {
      if (error instanceof RegistryError) return false;
      throw error;
    }
  }

  #judge(caller: Caller, { repository, name, action, host }: Wanted): void {
    const { identification, roles } = this.#parts;
    if (roles.granting(caller, repository, action) !== undefined) return;
    const challenges = identification.challenges({ name, action }, host);
    if (caller.identity === undefined && challenges.length > 0)
      throw new Unauthorized('say who you are', challenges);
    const hidden = action === 'pull' || roles.granting(caller, repository, 'pull') === undefined;
    throw new Denied('no role allows it', hidden);
  }
}

function grant(
  caller: Caller,
  { upstream, name }: RepositoryRef,
  authorization: string | undefined,
): GrantedRepository {
  const asker = { caller: callerKey(caller), ...(authorization !== undefined && { authorization }) };
  return { upstream, name, asker } as GrantedRepository;
}
