import type { Identity } from '../caller.ts';
import type { BearerSource, PasswordSource } from '../sources.ts';

/** What `docker login -u oidc -p TOKEN` says for a name. */
const ANY_USER = 'oidc';

/**
 * A token in the place of a password, for clients that know nothing but Basic. Who it is says the token alone; a name that is given with
 * it has to be `oidc` or the same, so that nobody is taken for another than they think.
 */
export class TokenPasswords implements PasswordSource {
  readonly #tokens: BearerSource;

  constructor(tokens: BearerSource) {
    this.#tokens = tokens;
  }

  async check(user: string, password: string): Promise<Identity | undefined> {
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(password)) return undefined;
    const identity = await this.#tokens.check(password);
    return user === ANY_USER || user === identity?.user ? identity : undefined;
  }
}
