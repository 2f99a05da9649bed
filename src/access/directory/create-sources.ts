import type { EdgeAuthConfig } from '../../config/access/access-config.ts';
import type { Clock } from '../../lib/clock.ts';
import type { BearerSource, PasswordSource } from '../sources.ts';
import type { SourceEvents } from './source-events.ts';
import { TokenPasswords } from './token-passwords.ts';

/** Who is known elsewhere than in this edge's own files. */
export interface Sources {
  /** In the order in which they are asked: what costs nothing first. */
  readonly passwords: readonly PasswordSource[];
  readonly bearers: readonly BearerSource[];
  /** Asks every server behind the scenes, so that what is wrong is told before somebody comes. */
  readonly start: () => void;
  /** What is being checked goes on to its end; connections that wait are closed. */
  readonly close: () => void;
}

/** Nothing is loaded, opened or asked before {@link Sources.start} or the first check. */
export function createSources({ ldap, oidc }: EdgeAuthConfig, clock: Clock, events: SourceEvents): Sources {
  const passwords: PasswordSource[] = [];
  const bearers: BearerSource[] = [];
  const all: Lazy[] = [];
  if (oidc !== undefined) {
    const source = new Lazy(async () => {
      const { OidcSource } = await import('./oidc-source.ts');
      return new OidcSource(oidc, clock, events);
    });
    const bearer = { check: async (token: string) => await (await source.get()).check(token) };
    bearers.push(bearer);
    passwords.push(new TokenPasswords(bearer));
    all.push(source);
  }
  if (ldap !== undefined) {
    const source = new Lazy(async () => {
      const { LdapSource } = await import('./ldap-source.ts');
      return new LdapSource(ldap, clock, events);
    });
    passwords.push({
      check: async (user, password) => await (await source.get()).check(user, password),
    });
    all.push(source);
  }
  return {
    passwords,
    bearers,
    start: () => {
      for (const source of all) source.start();
    },
    close: () => {
      for (const source of all) source.close();
    },
  };
}

/** A source whose library is loaded when it is first needed. */
class Lazy<Source extends { start(): void; close(): void } = { start(): void; close(): void }> {
  readonly #load: () => Promise<Source>;
  #loaded: Promise<Source> | undefined;

  constructor(load: () => Promise<Source>) {
    this.#load = load;
  }

  get(): Promise<Source> {
    this.#loaded ??= this.#load();
    return this.#loaded;
  }

  start(): void {
    void this.get().then((source) => source.start());
  }

  close(): void {
    void this.#loaded?.then((source) => source.close());
  }
}
