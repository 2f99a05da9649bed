import { createHash, randomUUID } from 'node:crypto';
import type { JWTPayload } from 'jose';
import { LRUCache } from 'lru-cache';
import { ms, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Identity, Scope } from '../caller.ts';
import { SERVICE } from './challenges.ts';
import { tokenKeys, type TokenKeys } from './token-key.ts';

/** Whom a token is for, and what of them must still hold when it is used. */
export interface TokenHolder {
  /** Undefined: anybody, for what the network alone allows. */
  readonly user: string | undefined;
  readonly groups: readonly string[];
  /** How they were known when it was issued. */
  readonly by: Identity['by'] | undefined;
  /** What changes with their password; it holds nothing of it. */
  readonly version?: string | undefined;
  /** SHA-256 of the client certificate that it is used with, base64url (RFC 8705 §3.1). */
  readonly certificate?: string | undefined;
}

export interface KnownToken extends TokenHolder {
  readonly scopes: readonly Scope[];
  /** Since the Unix epoch. */
  readonly expiresAt: Milliseconds;
}

export interface IssuedToken {
  readonly token: string;
  readonly issuedAt: Milliseconds;
}

const ALGORITHM = 'ES256';
const TYPE = 'JWT';
/** Sibling edges' clocks are never quite the same. */
const SKEW_SECONDS = 30;
/** Verified ones, so that a pull's many requests cost one verification. */
const MAX_REMEMBERED = 10_000;
const CLAIMS = ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti'];
const SOURCES: readonly Identity['by'][] = ['certificate', 'htpasswd', 'ldap', 'oidc'];

/** The edge's own tokens: JWTs, ES256, under a key of its own and no other algorithm or key, whatever their headers say. */
export class EdgeTokens {
  readonly #keys: TokenKeys;
  readonly #clock: Clock;
  readonly #ttl: Milliseconds;
  readonly #verified = new LRUCache<string, KnownToken>({ max: MAX_REMEMBERED });

  /** @param key from {@link deriveTokenKey} */
  constructor(key: Uint8Array, ttl: Milliseconds, clock: Clock) {
    this.#keys = tokenKeys(key);
    this.#ttl = ttl;
    this.#clock = clock;
  }

  get ttlSeconds(): number {
    return Math.floor(this.#ttl / 1000);
  }

  async issue(holder: TokenHolder, scopes: readonly Scope[]): Promise<IssuedToken> {
    const { SignJWT } = await import('jose/jwt/sign');
    const issuedAt = ms(Math.floor(this.#clock.now() / 1000) * 1000);
    const iat = issuedAt / 1000;
    const access = scopes.map(({ name, actions }) => {
      const [type, rest] = name.includes(':') ? name.split(':') : ['repository', name];
      return { type, name: rest, actions };
    });
    const token = await new SignJWT({
      access,
      groups: holder.groups,
      ...(holder.by !== undefined && { by: holder.by }),
      ...(holder.version !== undefined && { ver: holder.version }),
      ...(holder.certificate !== undefined && { cnf: { 'x5t#S256': holder.certificate } }),
    })
      .setProtectedHeader({ alg: ALGORITHM, typ: TYPE })
      .setIssuer(SERVICE)
      .setAudience(SERVICE)
      .setSubject(holder.user ?? '')
      .setIssuedAt(iat)
      .setNotBefore(iat - SKEW_SECONDS)
      .setExpirationTime(iat + this.ttlSeconds)
      .setJti(randomUUID())
      .sign(this.#keys.privateKey);
    return { token, issuedAt };
  }

  /** One that was verified before and has not expired: a look into a map. */
  known(token: string): KnownToken | undefined {
    const known = this.#verified.get(nameOf(token));
    return known !== undefined && known.expiresAt > this.#clock.now() ? known : undefined;
  }

  /** Undefined for whatever is no good token of this edge or a sibling. */
  async verify(token: string): Promise<KnownToken | undefined> {
    const { jwtVerify } = await import('jose/jwt/verify');
    const now = this.#clock.now();
    let payload: JWTPayload;
    try {
      // The key is given here and in no other way: `jwk`, `jku`, `x5c` and `kid` in a header are not looked at.
      ({ payload } = await jwtVerify(token, this.#keys.publicKey, {
        algorithms: [ALGORITHM],
        typ: TYPE,
        issuer: SERVICE,
        audience: SERVICE,
        requiredClaims: CLAIMS,
        currentDate: new Date(now),
      }));
    } catch {
      // Every failure means the same to the caller, and none is the edge's: the key is known to be good.
      return undefined;
    }
    if ((payload.iat ?? Infinity) > now / 1000 + SKEW_SECONDS) return undefined;
    const known = readClaims(payload);
    if (known !== undefined) this.#verified.set(nameOf(token), known);
    return known;
  }
}

/** What {@link EdgeTokens.issue} has written; a sibling of another version may have written something else. */
function readClaims(payload: JWTPayload): KnownToken | undefined {
  const { sub, exp, access, groups, by, ver, cnf } = payload;
  const source = SOURCES.find((known) => known === by);
  if (sub === undefined || exp === undefined || !Array.isArray(access)) return undefined;
  if (!isTexts(groups) || (sub !== '') !== (source !== undefined)) return undefined;
  const scopes = access.map(readAccess);
  if (!scopes.every((scope) => scope !== undefined)) return undefined;
  const confirmation = recordOf(cnf)['x5t#S256'];
  return {
    user: sub === '' ? undefined : sub,
    groups,
    by: source,
    scopes,
    expiresAt: ms(exp * 1000),
    version: typeof ver === 'string' ? ver : undefined,
    certificate: typeof confirmation === 'string' ? confirmation : undefined,
  };
}

function readAccess(entry: unknown): Scope | undefined {
  const { type, name, actions } = recordOf(entry);
  if (typeof type !== 'string' || typeof name !== 'string' || !isTexts(actions)) return undefined;
  return { name: type === 'repository' ? name : `${type}:${name}`, actions };
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/** What a token is remembered by: not the token itself. */
function nameOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
