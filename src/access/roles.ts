import { LRUCache } from 'lru-cache';
import type { AuthConfig, Role, RoleConfig } from '../config/access/access-config.ts';
import { repositoryKey, type RepositoryRef } from '../oci/repository-ref.ts';
import type { Caller } from './caller.ts';
import { Networks } from './ip-rules.ts';
import { NamePattern } from './name-pattern.ts';

/** What a request does to a repository. */
export type Action = 'pull' | 'push' | 'delete';

/** In `users`: whoever is known by name. */
const ANYBODY_KNOWN = '*';
/** Whom nothing is allowed while there are no roles. */
const NOBODY = {};
const MAX_STANDINGS = 2000;
const MAX_DECISIONS = 20_000;

/** One entry of `roles`, ready to be asked. */
interface Grant {
  readonly role: Role;
  /** Fit for the record; the place is that in the configuration. */
  readonly text: string;
  /** Undefined: anywhere. */
  readonly networks: Networks | undefined;
  readonly upstream: string | undefined;
  /** Undefined: all repositories. */
  readonly patterns: readonly NamePattern[] | undefined;
}

/** The grants of a user or a group. The number stands for the name in a key. */
interface Principal {
  readonly number: number;
  readonly places: number[];
}

/** Callers whom the same grants are for. */
interface Standing {
  readonly number: number;
  /** In the order of the configuration. */
  readonly grants: readonly Grant[];
  readonly operator: boolean;
}

/** What lets callers of one standing pull from, and change, one repository. */
interface Decision {
  readonly pull: string | undefined;
  readonly change: string | undefined;
}

/**
 * Who may do what. Without any role: everybody who is let in and, with `auth.mode: edge`, known. With one: nobody but whom a role
 * is for.
 *
 * Decisions are remembered, since they depend on nothing but what the roles say: other roles are another object.
 */
export class Roles {
  readonly #mode: AuthConfig['mode'];
  readonly #grants: readonly Grant[];
  readonly #users = new Map<string, Principal>();
  readonly #groups = new Map<string, Principal>();
  /** Places of the grants for everybody, and for everybody who is known. */
  readonly #open: number[] = [];
  readonly #known: number[] = [];
  readonly #byNetwork: boolean;
  readonly #standings = new LRUCache<string, Standing>({ max: MAX_STANDINGS });
  readonly #decisions = new LRUCache<string, Decision>({ max: MAX_DECISIONS });
  #count = 0;

  constructor(roles: readonly RoleConfig[], mode: AuthConfig['mode']) {
    this.#mode = mode;
    this.#grants = roles.map(grantOf);
    this.#byNetwork = roles.some(({ networks }) => networks.length > 0);
    for (const [place, { users, groups }] of roles.entries()) {
      if (users.length + groups.length === 0) this.#open.push(place);
      for (const user of users) {
        if (user === ANYBODY_KNOWN) this.#known.push(place);
        else principal(this.#users, user).places.push(place);
      }
      for (const group of groups) principal(this.#groups, group).places.push(place);
    }
  }

  /** Whether anything but being let in, and known, decides. */
  get configured(): boolean {
    return this.#grants.length > 0;
  }

  /** What lets the caller do it, fit for the record; undefined when nothing does. */
  granting(caller: Caller, repository: RepositoryRef, action: Action): string | undefined {
    if (!this.configured) return this.#unrestricted(caller);
    const { pull, change } = this.#decision(this.#standing(caller), repository);
    return action === 'pull' ? pull : change;
  }

  /** Stands for all callers to whom these roles say the same. */
  standingOf(caller: Caller): object {
    if (this.configured) return this.#standing(caller);
    return this.#unrestricted(caller) === undefined ? NOBODY : this.#grants;
  }

  /** Whether the caller may do anything at all to any repository, of that upstream or of any. */
  anything(caller: Caller, upstream?: string): boolean {
    if (!this.configured) return this.#unrestricted(caller) !== undefined;
    return this.#standing(caller).grants.some(
      (grant) =>
        grant.role !== 'operator' &&
        (upstream === undefined || grant.upstream === undefined || grant.upstream === upstream),
    );
  }

  /** Whether the admin API is open to the caller: to nobody unless a role says so, and to nobody without a name. */
  isOperator(caller: Caller): boolean {
    return this.configured && caller.identity !== undefined && this.#standing(caller).operator;
  }

  #unrestricted({ identity }: Caller): string | undefined {
    if (identity !== undefined) return identity.by;
    return this.#mode === 'edge' ? undefined : 'network';
  }

  #decision(standing: Standing, repository: RepositoryRef): Decision {
    const key = `${standing.number} ${repositoryKey(repository)}`;
    const known = this.#decisions.get(key);
    if (known !== undefined) return known;
    const able = standing.grants.filter((grant) => reaches(grant, repository));
    const pull = able.find(({ role }) => role !== 'operator')?.text;
    const decision = { pull, change: able.find(({ role }) => role === 'publisher')?.text };
    this.#decisions.set(key, decision);
    return decision;
  }

  /**
   * The key holds nothing that a caller writes but an address: names are numbers, and those that no role names make no difference. So
   * no name can be made to look like another caller's, and none takes memory.
   */
  #standing({ address, identity }: Caller): Standing {
    const user = identity && this.#users.get(identity.user);
    const groups: Principal[] = [];
    let who = identity === undefined ? 'nobody' : `${user?.number ?? ''}`;
    for (const name of identity?.groups ?? []) {
      const group = this.#groups.get(name);
      if (group === undefined) continue;
      groups.push(group);
      who += `/${group.number}`;
    }
    const key = this.#byNetwork ? `${address} ${who}` : who;
    const kept = this.#standings.get(key);
    if (kept !== undefined) return kept;
    const known = identity === undefined ? [] : this.#known;
    const places = [...this.#open, ...known, ...(user?.places ?? []), ...groups.flatMap((of) => of.places)];
    const grants = this.#grants.filter(chosen(new Set(places), address));
    const operator = grants.some(({ role }) => role === 'operator');
    const standing = { number: this.#count++, grants, operator };
    this.#standings.set(key, standing);
    return standing;
  }
}

function grantOf({ role, networks, upstream, repositories }: RoleConfig, place: number): Grant {
  return {
    role,
    text: `role ${role}, roles[${place}]`,
    networks: networks.length === 0 ? undefined : new Networks(networks),
    upstream,
    patterns: repositories.length === 0 ? undefined : repositories.map((text) => new NamePattern(text)),
  };
}

function principal(all: Map<string, Principal>, name: string): Principal {
  const known = all.get(name);
  if (known !== undefined) return known;
  const made = { number: all.size, places: [] };
  all.set(name, made);
  return made;
}

function chosen(places: ReadonlySet<number>, address: string): (grant: Grant, place: number) => boolean {
  return ({ networks }, place) => places.has(place) && (networks === undefined || networks.include(address));
}

function reaches({ upstream, patterns }: Grant, repository: RepositoryRef): boolean {
  if (upstream !== undefined && upstream !== repository.upstream) return false;
  return patterns === undefined || patterns.some((pattern) => pattern.matches(repository.name));
}
