import type { Digest } from '../oci/digest.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import type { Reference } from '../oci/reference.ts';
import type { RepositoryName } from '../oci/repository-name.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import { callerKey } from './caller-key.ts';
import type { Caller, Evidence, Identity, Scope } from './caller.ts';
import { CATALOG, isInScope } from './edge/token-scope.ts';
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
  /** Words that a repository's own name must not contain. */
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
    const { address, authorization, origin } = evidence;
    if (verdicts !== undefined) {
      const nothing = authorization === undefined || NOTHING_SHOWN.test(authorization);
      return { address, identity: undefined, authorization: nothing ? undefined : authorization, origin };
    }
    const identity = identification.identify(evidence);
    return identity instanceof Promise
      ? identity.then((known) => ({ address, identity: known, origin }))
      : { address, identity, origin };
  }

  /** Whether what clients show is for this edge, and for no upstream to see. */
  get keepsCredentials(): boolean {
    return this.#parts.identification.challenges(undefined, undefined).length > 0;
  }

  /**
   * `/v2/`: where clients learn whether, and how, they have to say who they are.
   * @param upstream the one that is meant; throws when there is none such.
   * @throws {Unauthorized} for a caller who may do nothing as nobody.
   */
  ping(caller: Caller, upstream: () => string): Promise<void> | undefined {
    const { identification, roles, verdicts } = this.#parts;
    if (verdicts !== undefined) return verdicts.ping(caller, upstream());
    const challenges = identification.challenges(undefined, caller.origin);
    if (challenges.length === 0 || caller.identity !== undefined) return undefined;
    if (roles.anything(caller)) return undefined;
    throw new Unauthorized('say who you are', challenges);
  }

  /** Not a promise where none is needed. @throws {Unauthorized | Denied} and what the upstream says no with. */
  authorize(caller: Caller, wanted: Wanted): GrantedRepository | Promise<GrantedRepository> {
    const granting = this.#judge(caller, wanted);
    const { verdicts } = this.#parts;
    // Nothing is as good as something to show, as long as the upstream is shown the same as when it was asked.
    const shown = verdicts === undefined ? undefined : (caller.authorization ?? '');
    const by = verdicts === undefined ? granting : 'upstream';
    const granted = grant(caller, wanted.repository, { by, authorization: shown });
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

  /** Whether the caller may, as far as this edge has a say. */
  permits(caller: Caller, wanted: Judged): boolean {
    const granting = this.#parts.roles.granting(caller, wanted.repository, wanted.action);
    return this.#refusalOf(caller, wanted, granting) === undefined;
  }

  /** What of lists of repositories the caller may see: what they could also ask for by name. Undefined: all. */
  visibleTo({ address, identity }: Caller): Visible | undefined {
    const { roles, forbiddenNames } = this.#parts;
    // A token for the catalog is for all that its holder may see there.
    const scopes = identity?.scopes;
    const only = scopes === undefined || isInScope(scopes, CATALOG, '*') ? undefined : pullable(scopes);
    if (only === undefined && !roles.configured && forbiddenNames.length === 0) return undefined;
    const holder: Caller = { address, identity: identity && withoutScopes(identity) };
    return {
      to: roles.standingOf(holder),
      only,
      upstream: (name) => roles.anything(holder, name),
      repository: (repository, name) => this.permits(holder, { repository, name, action: 'pull' }),
    };
  }

  /** What lets the caller do it. */
  #judge(caller: Caller, wanted: Wanted): string {
    const { identification, roles } = this.#parts;
    const { repository, name, action } = wanted;
    const granting = roles.granting(caller, repository, action);
    const refusal = this.#refusalOf(caller, wanted, granting);
    if (refusal === 'stranger' || refusal === 'out of scope') {
      const short = refusal === 'out of scope';
      const challenges = identification.challenges({ name, action }, caller.origin, short);
      throw new Unauthorized(short ? 'the token was not given for this' : 'say who you are', challenges);
    }
    if (refusal === 'forbidden name') throw new Denied(FORBIDDEN_NAME, true);
    if (granting !== undefined) return granting;
    const hidden = action === 'pull' || roles.granting(caller, repository, 'pull') === undefined;
    throw new Denied('no role allows it', hidden);
  }

  /**
   * The one judgement, made for each name of a list as well: it makes no error. A token does not widen what the roles allow its
   * holder by now, and they do not widen what it was given for.
   */
  #refusalOf({ identity }: Caller, wanted: Judged, granting: string | undefined): Refusal | undefined {
    const { repository, name, action } = wanted;
    if (granting === undefined && identity === undefined && this.keepsCredentials) return 'stranger';
    // After the challenge: which words are forbidden is not for strangers to find out.
    if (this.#parts.forbiddenNames.some((word) => repository.name.includes(word))) return 'forbidden name';
    if (granting === undefined) return 'no role';
    const inScope = identity?.scopes === undefined || isInScope(identity.scopes, name, action);
    return inScope ? undefined : 'out of scope';
  }
}

type Judged = Pick<Wanted, 'repository' | 'name' | 'action'>;
type Refusal = 'stranger' | 'forbidden name' | 'out of scope' | 'no role';

/** What of lists of repositories a caller may see. */
export interface Visible {
  /** The same for callers for whom `upstream` and `repository` say the same. */
  readonly to: object;
  /** The names, as paths have them, that a token is for: nothing else of it is seen. */
  readonly only: ReadonlySet<string> | undefined;
  readonly upstream: (name: string) => boolean;
  readonly repository: (repository: RepositoryRef, name: RepositoryName) => boolean;
}

/** For the record: the caller is told that there is no such repository. */
const FORBIDDEN_NAME = 'forbidden name';

function withoutScopes({ scopes: _, ...identity }: Identity): Identity {
  return identity;
}

function pullable(scopes: readonly Scope[]): Set<string> {
  return new Set(scopes.filter(({ actions }) => actions.includes('pull')).map(({ name }) => name));
}

interface Granting {
  readonly by: string;
  readonly authorization: string | undefined;
}

function grant(
  caller: Caller,
  { upstream, name }: RepositoryRef,
  { by, authorization }: Granting,
): GrantedRepository {
  const asker = { caller: callerKey(caller), ...(authorization !== undefined && { authorization }) };
  return { upstream, name, asker, by } as GrantedRepository;
}
