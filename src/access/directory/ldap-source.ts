import type { Entry } from 'ldapts';
import type { LdapConfig } from '../../config/access/access-config.ts';
import { ms } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { Semaphore } from '../../lib/semaphore.ts';
import { within } from '../../lib/within.ts';
import type { Identity } from '../caller.ts';
import { SourceUnavailable, type PasswordSource } from '../sources.ts';
import { LdapFailure } from './ldap-connection.ts';
import { fillFilter, userAttributeOf } from './ldap-filter.ts';
import { LdapServer } from './ldap-server.ts';
import { commonNameOf, parseGroups, parseName } from './names.ts';
import type { SourceEvents } from './source-events.ts';

/** Passwords that are tried at once, by this process. */
const MAX_CHECKS = 4;
const MAX_WAITING = 128;
/** Groups are found in one answer, without paging. */
const MAX_GROUP_ENTRIES = 1000;

/**
 * People of an LDAP directory: found by the service account, known by a bind with their own password, over TLS only. A check takes
 * two or three round trips, and nothing is remembered here: whoever asks remembers good answers for a moment. It takes
 * at most twice `timeout` in all, and no time at all while every server is known to be down.
 *
 * Who it is is the entry's own value of the attribute that `userFilter` compares with the name, since a directory does not tell
 * `Ada` from `ada` and roles do.
 */
export class LdapSource implements PasswordSource {
  readonly #config: LdapConfig;
  readonly #clock: Clock;
  readonly #events: SourceEvents;
  readonly #servers: readonly LdapServer[];
  readonly #checks = new Semaphore(MAX_CHECKS);

  constructor(config: LdapConfig, clock: Clock, events: SourceEvents) {
    this.#config = config;
    this.#clock = clock;
    this.#events = events;
    const changed = (url: string, up: boolean, reason: string | undefined): void =>
      events.changed('ldap', url, up, reason);
    this.#servers = config.urls.map((url) => new LdapServer(url, { config, clock, changed }));
  }

  /** Has every server tried once behind the scenes, so that what is wrong is told before somebody comes. */
  start(): void {
    for (const server of this.#servers)
      server.probe().catch((error: unknown) => {
        if (!(error instanceof LdapFailure)) throw error;
        if (error.kind === 'refused') this.#events.unusable('ldap', `${server.url}: ${error.message}`);
      });
  }

  async check(user: string, password: string): Promise<Identity | undefined> {
    // A bind without a password succeeds, as nobody: RFC 4513, 5.1.2.
    if (password === '' || parseName(user) === undefined) return undefined;
    if (this.#checks.waiting >= MAX_WAITING)
      throw new SourceUnavailable('too many passwords wait for the directory');
    const limit = ms(this.#config.timeout * 2);
    const until = this.#clock.monotonic() + limit;
    const result = await within(this.#clock, limit, this.#inTurn(user, password, until));
    if (result === undefined) throw new SourceUnavailable(`the directory took longer than ${limit} ms`);
    return result.identity;
  }

  /** Checks that are under way go on to their end. */
  close(): void {
    for (const server of this.#servers) server.close();
  }

  async #inTurn(user: string, password: string, until: number): Promise<{ identity: Identity | undefined }> {
    const release = await this.#checks.acquire();
    try {
      for (const server of this.#servers) {
        if (!server.up || this.#clock.monotonic() >= until) continue;
        const result = await this.#ask(server, user, password);
        if (result !== undefined) return result;
      }
    } finally {
      release();
    }
    throw new SourceUnavailable('no server of the directory answers');
  }

  /** Undefined: another server may know. */
  async #ask(
    server: LdapServer,
    user: string,
    password: string,
  ): Promise<{ identity: Identity | undefined } | undefined> {
    try {
      return { identity: await this.#identify(server, user, password) };
    } catch (error) {
      if (!(error instanceof LdapFailure)) throw error;
      if (error.kind !== 'refused') return undefined;
      this.#events.unusable('ldap', `${server.url}: ${error.message}`);
      throw new SourceUnavailable(`${server.url}: ${error.message}`, { cause: error });
    }
  }

  async #identify(server: LdapServer, name: string, password: string): Promise<Identity | undefined> {
    const { userBase, userFilter, groupBase } = this.#config;
    const attribute = userAttributeOf(userFilter) ?? 'uid';
    const entries = await server.search(userBase, {
      filter: fillFilter(userFilter, { user: name }),
      attributes: groupBase === undefined ? [attribute, 'memberOf'] : [attribute],
      sizeLimit: 2,
    });
    const [entry, second] = entries;
    if (second !== undefined)
      this.#events.unusable('ldap', 'auth.edge.ldap.userFilter finds several entries for a name');
    if (entry === undefined || second !== undefined || !entry.dn.includes('=')) {
      // The same round trips as for somebody who is known, so that the time does not tell.
      await server.bind(`cn=unknown,${userBase}`, password);
      return undefined;
    }
    if (!(await server.bind(entry.dn, password))) return undefined;
    const user = nameIn(valuesOf(entry, attribute), name);
    if (user === undefined) {
      this.#events.unusable(
        'ldap',
        `the service account may not read ${attribute} of a user, or it is no name`,
      );
      return undefined;
    }
    const groups =
      groupBase === undefined
        ? valuesOf(entry, 'memberOf').map(commonNameOf)
        : await this.#groups(server, groupBase, user, entry.dn);
    return { user, groups: parseGroups(groups), by: 'ldap' };
  }

  async #groups(server: LdapServer, base: string, user: string, dn: string): Promise<readonly string[]> {
    const entries = await server.search(base, {
      filter: fillFilter(this.#config.groupFilter, { user, dn }),
      attributes: ['cn'],
      sizeLimit: MAX_GROUP_ENTRIES,
    });
    return entries.flatMap((entry) => valuesOf(entry, 'cn'));
  }
}

/** Of several values the one that was given, as the directory spells it. */
function nameIn(values: readonly string[], given: string): string | undefined {
  const same = values.find((value) => value.toLowerCase() === given.toLowerCase());
  return parseName(same ?? values[0]);
}

/** What is no text is not there. Servers spell an attribute as their schema does. */
function valuesOf(entry: Entry, attribute: string): readonly string[] {
  const found = Object.entries(entry).find(([name]) => name.toLowerCase() === attribute.toLowerCase());
  const values = found === undefined ? [] : [found[1]].flat();
  return values.filter((value) => typeof value === 'string');
}
