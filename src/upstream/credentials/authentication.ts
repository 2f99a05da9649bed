import { ms, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Leases } from '../../lib/leases.ts';
import { parseChallenges } from '../challenge.ts';
import { discard, type HopAnswer, type HopRequest } from '../origin-pool.ts';
import { realmTarget, type TargetRules } from '../targets.ts';
import { Tokens } from '../tokens.ts';
import { CredentialError, type TokenStore } from '../upstream.ts';
import { basicOf, type Credentials, type CredentialSource } from './credential-source.ts';

export interface AuthenticationEvents {
  readonly onTokenFetched: (outcome: 'ok' | 'failed') => void;
  readonly onTokenAnswered: (took: Milliseconds) => void;
  readonly onCredentialsFailed: (error: CredentialError) => void;
}

export interface AuthenticationParts extends AuthenticationEvents {
  readonly upstream: string;
  readonly rules: TargetRules;
  readonly clock: Clock;
  readonly tokens: TokenStore;
  readonly leases: Leases;
  readonly credentials: CredentialSource;
  /** Asks a token service that may be asked. */
  readonly ask: (request: HopRequest) => Promise<HopAnswer>;
}

/** What a request shows of who we are. */
export type Shown = Credentials | { readonly token: string };

/** How one registry wants to be shown who asks: by a token of its token service, or by Basic. */
export class Authentication {
  readonly #parts: AuthenticationParts;
  readonly #tokens: Tokens;
  /** The registry wants Basic: it gets it without a 401 first. */
  #wantsBasic = false;

  constructor(parts: AuthenticationParts) {
    const { upstream, rules, credentials } = parts;
    this.#parts = parts;
    this.#tokens = new Tokens(`${upstream}\n${rules.home.origin}\n${credentials.identity}`, {
      clock: parts.clock,
      store: parts.tokens,
      leases: parts.leases,
      fetch: (realm, parameters) => this.#askRealm(realm, parameters),
      onFetched: parts.onTokenFetched,
    });
  }

  /** What to show without being asked. @throws {CredentialError} */
  async atFirst(scope: string): Promise<Shown | undefined> {
    if (this.#wantsBasic) return await this.#parts.credentials.get();
    const token = this.#tokens.current(scope);
    return token === undefined ? undefined : { token };
  }

  /** What to show after a 401 to what was shown, for its challenge. @throws {UpstreamError} */
  async after(refused: Shown | undefined, answer: HopAnswer, scope: string): Promise<Shown | undefined> {
    const challenges = parseChallenges(answer.headers['www-authenticate']);
    const bearer = challenges.find((one) => one.scheme === 'bearer' && one.parameters.has('realm'));
    this.#wantsBasic = bearer === undefined && challenges.some((one) => one.scheme === 'basic');
    if (this.#wantsBasic) {
      const { credentials } = this.#parts;
      return refused === undefined || 'token' in refused
        ? await credentials.get()
        : await this.#instead(refused, this.#parts.rules.home.origin);
    }
    const rejected = refused !== undefined && 'token' in refused ? refused.token : undefined;
    const token = bearer && (await this.#tokens.renew(scope, rejected, bearer));
    return token === undefined || token === rejected ? undefined : { token };
  }

  /** The `Authorization`. @throws {CredentialError} when the registry wants what the credentials are not. */
  headerFor(shown: Shown): string {
    if ('token' in shown) return `Bearer ${shown.token}`;
    if (!('identityToken' in shown)) return basicOf(shown);
    const { upstream, rules } = this.#parts;
    const what = `${rules.home.origin} wants a user name and a password, and they are an identity token`;
    throw this.#told(new CredentialError('unusable', `credentials of ${upstream}: ${what}`));
  }

  /** The realm is judged before the credentials are looked up, and whoever refuses them is asked once with others. */
  async #askRealm(realm: string, parameters: Readonly<Record<string, string>>): Promise<HopAnswer> {
    const url = realmTarget(realm, this.#parts.rules);
    const credentials = await this.#parts.credentials.get();
    const answer = await this.#askToken(tokenRequest(url, parameters, credentials));
    if (credentials === undefined || !refuses(answer, credentials)) return answer;
    try {
      const other = await this.#instead(credentials, url.origin);
      if (other === undefined) return answer;
      discard(answer);
      return await this.#askToken(tokenRequest(url, parameters, other));
    } catch (error) {
      discard(answer);
      throw error;
    }
  }

  async #askToken(request: HopRequest): Promise<HopAnswer> {
    const { clock, ask, onTokenAnswered } = this.#parts;
    const started = clock.monotonic();
    const answer = await ask(request);
    onTokenAnswered(ms(clock.monotonic() - started));
    return answer;
  }

  /** Other credentials than those that `by` refused. */
  async #instead(refused: Credentials, by: string): Promise<Credentials | undefined> {
    const other = await this.#parts.credentials.renew(refused);
    if (other !== undefined) return other;
    const message = `credentials of ${this.#parts.upstream}: ${by} refuses them, and there are no others`;
    this.#told(new CredentialError('refused', message));
    return undefined;
  }

  #told(error: CredentialError): CredentialError {
    this.#parts.onCredentialsFailed(error);
    return error;
  }
}

/** OAuth2's way for an identity token, which is a refresh token, as docker and podman do; GET for all others. */
function tokenRequest(
  realm: URL,
  parameters: Readonly<Record<string, string>>,
  credentials: Credentials | undefined,
): HopRequest {
  const url = new URL(realm);
  const headers = { accept: 'application/json' };
  if (credentials !== undefined && 'identityToken' in credentials) {
    const { identityToken } = credentials;
    const grant = { grant_type: 'refresh_token', refresh_token: identityToken, client_id: 'pierhead' };
    return {
      method: 'POST',
      url,
      headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ ...parameters, ...grant }).toString(),
    };
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  const authorization = credentials && basicOf(credentials);
  return { method: 'GET', url, headers: { ...headers, ...(authorization && { authorization }) } };
}

/** OAuth2 says `invalid_grant` with 400 (RFC 6749 §5.2). */
function refuses({ status }: HopAnswer, credentials: Credentials): boolean {
  return status === 401 || (status === 400 && 'identityToken' in credentials);
}
