import { decodeJwt, decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from 'jose';
import type { OidcConfig } from '../../config/access/access-config.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Identity } from '../caller.ts';
import { SourceUnavailable, type BearerSource } from '../sources.ts';
import { parseGroups, parseName } from './names.ts';
import { IssuerDocuments, type DocumentsOptions } from './oidc-documents.ts';
import { IssuerKeys, type KeySet } from './oidc-keys.ts';
import type { SourceEvents } from './source-events.ts';

/** Signatures only: with HS256 the issuer's public key would be a secret that everybody has. */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
/** ID tokens and access tokens (RFC 9068); a logout token, say, is signed by the same key. */
const TYPES = new Set(['jwt', 'at+jwt', 'application/at+jwt']);
const CLOCK_TOLERANCE_SECONDS = 60;
const MAX_TOKEN_CHARACTERS = 16 * 1024;

/**
 * Tokens of one OpenID issuer, verified here, by the issuer's published keys. The issuer is not asked about a token: one that it has
 * taken back is good until its `exp`. What a token says of keys (`jwk`, `jku`, `x5u`) is not looked at.
 *
 * Keys are asked for anew after 10 min, and for a key that is not known every 30 s at most. While the issuer is down its last keys
 * are good for 24 h; an edge that starts then lets nobody in by it.
 */
export class OidcSource implements BearerSource {
  readonly #config: OidcConfig;
  readonly #clock: Clock;
  readonly #events: SourceEvents;
  readonly #documents: IssuerDocuments;
  readonly #keys: IssuerKeys;
  #closed = false;

  constructor(config: OidcConfig, clock: Clock, events: SourceEvents, options: DocumentsOptions = {}) {
    this.#config = config;
    this.#clock = clock;
    this.#events = events;
    this.#documents = new IssuerDocuments(config.issuer, {
      ...options,
      ...(config.ca !== undefined && { ca: config.ca }),
    });
    this.#keys = new IssuerKeys({
      clock,
      fetch: () => this.#documents.keys(),
      changed: (up, reason) => {
        if (!this.#closed) events.changed('oidc', config.issuer, up, reason);
      },
    });
  }

  /** Fetches the keys behind the scenes, so that what is wrong is told before somebody comes. */
  start(): void {
    this.#keys.current().catch((error: unknown) => {
      // Told by `changed` already.
      if (!(error instanceof SourceUnavailable)) throw error;
    });
  }

  async check(token: string): Promise<Identity | undefined> {
    if (!this.#looksOurs(token)) return undefined;
    const payload = await this.#verified(token);
    return payload === undefined ? undefined : this.#identityOf(payload);
  }

  /** A question that is on its way goes on to its end. */
  close(): void {
    this.#closed = true;
    this.#documents.close();
  }

  /** Before anything is asked or computed for it. */
  #looksOurs(token: string): boolean {
    if (token.length > MAX_TOKEN_CHARACTERS) return false;
    try {
      const { alg, typ } = decodeProtectedHeader(token);
      if (alg === undefined || !ALGORITHMS.includes(alg)) return false;
      if (typ !== undefined && !TYPES.has(typ.toLowerCase())) return false;
      return decodeJwt(token).iss === this.#config.issuer;
    } catch (error) {
      if (error instanceof errors.JOSEError || error instanceof TypeError) return false;
      throw error;
    }
  }

  async #verified(token: string): Promise<JWTPayload | undefined> {
    const keys = await this.#keys.current();
    const first = await this.#verify(token, keys);
    if (first !== 'unknown key') return first;
    const others = await this.#keys.otherThan(keys);
    const second = others === undefined ? undefined : await this.#verify(token, others);
    return second === 'unknown key' ? undefined : second;
  }

  async #verify(token: string, keys: KeySet): Promise<JWTPayload | 'unknown key' | undefined> {
    const { issuer, audience } = this.#config;
    const now = this.#clock.now();
    try {
      const { payload } = await jwtVerify(token, keys, {
        algorithms: ALGORITHMS,
        issuer,
        audience,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ['iat', 'exp'],
        currentDate: new Date(now),
      });
      const isFromLater = (payload.iat ?? Infinity) > now / 1000 + CLOCK_TOLERANCE_SECONDS;
      return isFromLater ? undefined : payload;
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return 'unknown key';
      if (error instanceof errors.JOSEError) return undefined;
      throw new SourceUnavailable('a key of the issuer cannot be used', { cause: error });
    }
  }

  #identityOf(payload: JWTPayload): Identity | undefined {
    const { userClaim, groupsClaim } = this.#config;
    const user = parseName(payload[userClaim]);
    if (user === undefined) {
      this.#events.unusable('oidc', `a token has no ${userClaim} (auth.edge.oidc.userClaim) that is a name`);
      return undefined;
    }
    // Anybody may claim an address that nobody has verified.
    if (userClaim === 'email' && payload['email_verified'] === false) {
      this.#events.unusable('oidc', 'a token has an email address that the issuer has not verified');
      return undefined;
    }
    return { user, groups: parseGroups([payload[groupsClaim]].flat()), by: 'oidc' };
  }
}
