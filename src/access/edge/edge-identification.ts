import type { Caller, Evidence, Identity, WantedScope } from '../caller.ts';
import { RegistryError } from '../../oci/error-codes.ts';
import type { Identification } from '../identification.ts';
import { Unauthorized } from '../refusals.ts';
import { SourceUnavailable, type BearerSource } from '../sources.ts';
import { parseAuthorization } from './authorization-header.ts';
import { BASIC_CHALLENGE, bearerChallenge, TOKEN_PATH } from './challenges.ts';
import { thumbprintOf, type ClientCertificates } from './client-certificates.ts';
import type { EdgeTokens, KnownToken, TokenHolder } from './edge-tokens.ts';
import type { PasswordChecks } from './password-checks.ts';

export interface EdgeIdentificationParts {
  readonly certificates?: ClientCertificates | undefined;
  /** Absent where nobody has a password. */
  readonly passwords?: PasswordChecks | undefined;
  /** Absent where the token service is off. */
  readonly tokens?: EdgeTokens | undefined;
  /** Others whose tokens are taken, in the order in which they are asked. */
  readonly bearers: readonly BearerSource[];
  /** Where clients reach the token service, when it is not where they reach the edge. */
  readonly realm?: string | undefined;
  /** What a token of that user depends on; undefined when they are no longer known by that source. */
  readonly versionOf: (by: Identity['by'], user: string) => string | undefined;
  readonly events: IdentificationEvents;
}

export interface IdentificationEvents {
  /** Credentials were shown and looked at. */
  identified(outcome: 'accepted' | 'refused' | 'unavailable'): void;
  /** Fit for a log. */
  unavailable(error: SourceUnavailable): void;
}

/**
 * `auth.mode: edge`. An `Authorization` header decides where there is one, also against a client certificate: it is what the client says
 * of this request. A wrong one is refused, certificate or not.
 */
export class EdgeIdentification implements Identification {
  readonly #parts: EdgeIdentificationParts;

  constructor(parts: EdgeIdentificationParts) {
    this.#parts = parts;
  }

  identify(evidence: Evidence): Identity | undefined | Promise<Identity | undefined> {
    const { authorization } = evidence;
    if (authorization === undefined) return this.#byCertificate(evidence);
    const shown = parseAuthorization(authorization);
    switch (shown?.kind) {
      case undefined:
        throw this.#refused(evidence, 'the Authorization header is not Basic or Bearer as they are written');
      case 'nothing':
        return this.#byCertificate(evidence);
      case 'password':
        return this.#byPassword(evidence, shown.user, shown.password);
      case 'token':
        return this.#byToken(evidence, shown.token);
    }
  }

  challenges(wanted: WantedScope | undefined, origin: string | undefined, insufficient = false): string[] {
    return this.#challenges(wanted, origin, insufficient ? 'insufficient_scope' : undefined);
  }

  /** What a token for that caller says of them; its use depends on what they were known by. */
  holderOf({ identity }: Pick<Caller, 'identity'>, certificate: Uint8Array | undefined): TokenHolder {
    if (identity === undefined) return { user: undefined, groups: [], by: undefined };
    const { user, groups, by } = identity;
    const bound = by === 'certificate' && certificate !== undefined ? thumbprintOf(certificate) : undefined;
    return { user, groups, by, version: this.#parts.versionOf(by, user), certificate: bound };
  }

  #byCertificate({ certificate }: Evidence): Identity | undefined {
    return certificate === undefined ? undefined : this.#parts.certificates?.identityOf(certificate);
  }

  #byPassword(
    evidence: Evidence,
    user: string,
    password: string,
  ): Identity | undefined | Promise<Identity | undefined> {
    const { passwords } = this.#parts;
    if (passwords === undefined) throw this.#refused(evidence, 'nobody has a password here');
    const checked = passwords.check(evidence.address, user, password);
    const accept = (identity: Identity | undefined): Identity => {
      if (identity === undefined) throw this.#refused(evidence, 'unknown user, or a wrong password');
      this.#parts.events.identified('accepted');
      return identity;
    };
    return checked instanceof Promise ? this.#answered(checked).then(accept) : accept(checked);
  }

  #byToken(evidence: Evidence, token: string): Identity | undefined | Promise<Identity | undefined> {
    const { tokens } = this.#parts;
    const known = tokens?.known(token);
    if (known !== undefined) return this.#accepted(evidence, known);
    return (async () => {
      const verified = await tokens?.verify(token);
      if (verified !== undefined) return this.#accepted(evidence, verified);
      for (const bearer of this.#parts.bearers) {
        const identity = await this.#answered(bearer.check(token));
        if (identity === undefined) continue;
        this.#parts.events.identified('accepted');
        return identity;
      }
      throw this.#refused(evidence, 'the token is not valid, or not any more', 'invalid_token');
    })();
  }

  /** A token of ours is good as long as its holder would get another one. */
  #accepted(evidence: Evidence, token: KnownToken): Identity | undefined {
    const { user, groups, by, scopes, version, certificate } = token;
    if (user === undefined || by === undefined) return this.#byCertificate(evidence);
    const shown = evidence.certificate;
    const current =
      by === 'certificate'
        ? shown !== undefined &&
          thumbprintOf(shown) === certificate &&
          this.#parts.certificates?.identityOf(shown)?.user === user
        : version !== undefined && version === this.#parts.versionOf(by, user);
    if (!current) throw this.#refused(evidence, 'the token is not valid any more', 'invalid_token');
    this.#parts.events.identified('accepted');
    return { user, groups, by: 'token', scopes };
  }

  /** Nobody new gets in by a source that does not answer. */
  async #answered<T>(checked: Promise<T>): Promise<T> {
    try {
      return await checked;
    } catch (error) {
      if (!(error instanceof SourceUnavailable)) throw error;
      this.#parts.events.identified('unavailable');
      this.#parts.events.unavailable(error);
      throw new RegistryError('UNAVAILABLE', 'who you are cannot be checked at the moment', { cause: error });
    }
  }

  #refused(evidence: Evidence, detail: string, error?: 'invalid_token'): Unauthorized {
    this.#parts.events.identified('refused');
    return new Unauthorized(detail, this.#challenges(evidence.wanted, evidence.origin, error));
  }

  /** One alone: docker answers each that it knows, and the last of them wins. Basic is taken all the same. */
  #challenges(
    wanted: WantedScope | undefined,
    origin: string | undefined,
    error: 'insufficient_scope' | 'invalid_token' | undefined,
  ): string[] {
    const { tokens, realm = origin && `${origin}${TOKEN_PATH}` } = this.#parts;
    return [
      tokens === undefined || realm === undefined ? BASIC_CHALLENGE : bearerChallenge(realm, wanted, error),
    ];
  }
}
