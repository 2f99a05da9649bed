import type { Milliseconds } from '../../lib/brand.ts';

/** What the registry or its token service is shown. */
export type Credentials = (
  | { readonly username: string; readonly password: string }
  // Docker's word: an OAuth2 refresh token, for the token service alone.
  | { readonly identityToken: string }
) & {
  /** Wall clock; `undefined` when nobody said so. */
  readonly expiresAt?: Milliseconds | undefined;
};

/** Where an upstream's credentials come from. They may change at any time, so nobody but the source keeps them. */
export interface CredentialSource {
  /** For whom tokens are kept: the same across renewals and restarts. Holds no secret. */
  readonly identity: string;
  /**
   * `undefined`: the upstream is asked as anybody.
   * @throws {CredentialError} and never gives up its own rights for those of anybody.
   */
  get(): Promise<Credentials | undefined>;
  /**
   * Others than `refused`, which got a 401; `undefined` when there are none.
   * @throws {CredentialError}
   */
  renew(refused: Credentials): Promise<Credentials | undefined>;
  /** Ends a program that runs. */
  close(): void;
}

/** What the configuration says, the same for as long as the edge runs. */
export class StaticSource implements CredentialSource {
  readonly identity: string;
  readonly #credentials: Credentials | undefined;

  constructor(credentials?: { readonly username: string; readonly password: string }) {
    this.identity = credentials?.username ?? '';
    this.#credentials = credentials;
  }

  async get(): Promise<Credentials | undefined> {
    return this.#credentials;
  }

  async renew(): Promise<undefined> {
    return undefined;
  }

  close(): void {
    // Nothing runs.
  }
}

export function sameCredentials(one: Credentials, other: Credentials): boolean {
  return secretOf(one) === secretOf(other);
}

/** @throws {RangeError} for an identity token, which is no password. */
export function basicOf(credentials: Credentials): string {
  if ('identityToken' in credentials) throw new RangeError('an identity token is no password');
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
}

function secretOf(credentials: Credentials): string {
  return 'identityToken' in credentials
    ? credentials.identityToken
    : `${credentials.username}:${credentials.password}`;
}
