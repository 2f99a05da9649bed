import { LRUCache } from 'lru-cache';
import { ms, seconds, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import { askOncePerSite, type Leases } from '../lib/leases.ts';
import { SingleFlight } from '../lib/single-flight.ts';
import type { Challenge } from './challenge.ts';
import { discard, headerOf, type HopAnswer } from './origin-pool.ts';
import { parseRetryAfter } from './throttle.ts';
import { UpstreamError, type TokenStore } from './upstream.ts';

const MAX_REMEMBERED = 4096;
const MAX_BODY_BYTES = 64 * 1024;
/** The distribution token spec's default. */
const DEFAULT_LIFE = seconds(60);
const MAX_LIFE = seconds(3600);
/** With this part of its life left, a token in use is refreshed. */
const REFRESH_SHARE = 0.25;
/** Another edge's token is waited for so long; a token service that is slower than this is slow for everybody. */
const PATIENCE = seconds(2);
/** Between two refreshes behind the scenes that fail. */
const REFRESH_PAUSE = seconds(5);

export interface TokensParts {
  readonly clock: Clock;
  readonly store: TokenStore;
  /** One edge of the site asks for a token, the others take it from the store. */
  readonly leases: Leases;
  /** Asks the token service; checks that it may be asked. */
  readonly fetch: (realm: string, parameters: Readonly<Record<string, string>>) => Promise<HopAnswer>;
  readonly onFetched: (outcome: 'ok' | 'failed') => void;
}

interface Token {
  readonly text: string;
  readonly challenge: Challenge;
  /** On the monotonic clock. */
  refreshFrom: Milliseconds;
  readonly expires: Milliseconds;
}

/**
 * The bearer tokens of one registry, one per scope: in memory, and in a store that outlives the process. However many
 * ask, one fetch runs per scope, and it belongs to none of the askers; of the edges of a site, one fetches.
 */
export class Tokens {
  readonly #identity: string;
  readonly #parts: TokensParts;
  readonly #remembered = new LRUCache<string, Token>({ max: MAX_REMEMBERED });
  readonly #fetching = new SingleFlight<string, Token | undefined>();

  /** @param identity for whom and for which registry the tokens are; others' tokens are not found in the store. */
  constructor(identity: string, parts: TokensParts) {
    this.#identity = identity;
    this.#parts = parts;
  }

  /** The token to send without being asked for one. Nearly at its end, it is refreshed behind the scenes. */
  current(scope: string): string | undefined {
    const token = this.#alive(scope);
    if (token === undefined) return undefined;
    const now = this.#parts.clock.monotonic();
    if (now >= token.refreshFrom) {
      token.refreshFrom = ms(now + REFRESH_PAUSE);
      // A failure is on the metrics (onFetched); the token still serves, and the next use tries again.
      const { challenge } = token;
      const newer = (other: Token): boolean => other.text !== token.text && other.expires > token.expires;
      this.#fetching.run(scope, () => this.#fetchOnce(scope, challenge, newer)).catch(() => undefined);
    }
    return token.text;
  }

  /**
   * A token other than `rejected`, for the registry's challenge. `undefined`: the token service gives none.
   * @throws {UpstreamError}
   */
  async renew(
    scope: string,
    rejected: string | undefined,
    challenge: Challenge,
  ): Promise<string | undefined> {
    const known = this.#alive(scope);
    if (known !== undefined && known.text !== rejected) return known.text;
    const usable = (token: Token): boolean => token.text !== rejected;
    const token = await this.#fetching.run(scope, async () => {
      const kept = await this.#parts.store.get(this.#storeKey(scope)).catch(() => undefined);
      const restored = kept && this.#restore(scope, challenge, kept, usable);
      if (restored !== undefined) return restored;
      if (rejected !== undefined) await this.#forget(scope, rejected);
      return this.#fetchOnce(scope, challenge, usable);
    });
    return token?.text;
  }

  /** @param usable whether what another edge has put makes a fetch of our own needless. */
  #fetchOnce(
    scope: string,
    challenge: Challenge,
    usable: (token: Token) => boolean,
  ): Promise<Token | undefined> {
    const { leases, clock, store } = this.#parts;
    const key = this.#storeKey(scope);
    return askOncePerSite(leases, clock, {
      question: `token ${key}`,
      patience: PATIENCE,
      look: async () => {
        const latest = await store.latest?.(key).catch(() => undefined);
        return latest && this.#restore(scope, challenge, latest, usable);
      },
      ask: (holdUntil) => this.#fetch(scope, challenge, holdUntil),
    });
  }

  #alive(scope: string): Token | undefined {
    const token = this.#remembered.get(scope);
    return token !== undefined && this.#parts.clock.monotonic() < token.expires ? token : undefined;
  }

  async #fetch(
    scope: string,
    challenge: Challenge,
    holdUntil: (kept: Promise<unknown>) => void,
  ): Promise<Token | undefined> {
    const realm = challenge.parameters.get('realm') ?? '';
    const service = challenge.parameters.get('service');
    try {
      const answer = await this.#parts.fetch(realm, { ...(service === undefined ? {} : { service }), scope });
      const body = await tokenBody(answer, this.#parts.clock.now());
      this.#parts.onFetched(body === undefined ? 'failed' : 'ok');
      if (body === undefined) return undefined;
      const { text, life } = readToken(body);
      holdUntil(this.#keep(scope, text, life));
      return this.#remember(scope, this.#token(text, challenge, life, life));
    } catch (error) {
      this.#parts.onFetched('failed');
      throw error;
    }
  }

  #remember(scope: string, token: Token): Token {
    this.#remembered.set(scope, token);
    return token;
  }

  #token(text: string, challenge: Challenge, left: number, life: number): Token {
    const expires = ms(this.#parts.clock.monotonic() + left);
    return { text, challenge, refreshFrom: ms(expires - life * REFRESH_SHARE), expires };
  }

  /** The store may be slow or broken: the token is used without waiting for it. */
  async #keep(scope: string, text: string, life: Milliseconds): Promise<void> {
    const expiresAt = ms(this.#parts.clock.now() + life);
    const value = Buffer.from(JSON.stringify({ text, life, expiresAt }));
    await this.#parts.store.put(this.#storeKey(scope), value, expiresAt).catch(() => undefined);
  }

  #restore(
    scope: string,
    challenge: Challenge,
    value: Uint8Array,
    usable: (token: Token) => boolean,
  ): Token | undefined {
    const kept = readKept(value);
    if (kept === undefined) return undefined;
    // The wall clock may have jumped: a token never lives longer than it was given.
    const left = Math.min(kept.expiresAt - this.#parts.clock.now(), kept.life);
    const token = this.#token(kept.text, challenge, left, kept.life);
    return left > 0 && usable(token) ? this.#remember(scope, token) : undefined;
  }

  /** Only what was rejected: another edge may have put a better one in its place. */
  async #forget(scope: string, rejected: string): Promise<void> {
    const { store } = this.#parts;
    const key = this.#storeKey(scope);
    this.#remembered.delete(scope);
    const latest = await store.latest?.(key).catch(() => undefined);
    if (latest !== undefined && readKept(latest)?.text !== rejected) return;
    await store.delete(key).catch(() => undefined);
  }

  #storeKey(scope: string): string {
    return `${this.#identity}\n${scope}`;
  }
}

/** The bytes of a 200; `undefined` when the service refuses. */
async function tokenBody(answer: HopAnswer, now: Milliseconds): Promise<Uint8Array | undefined> {
  const { status } = answer;
  if (status !== 200) discard(answer);
  if (status === 429) {
    const retryAfterMs = parseRetryAfter(headerOf(answer, 'retry-after'), now);
    throw new UpstreamError('throttled', 'token service: 429', { retryAfterMs });
  }
  if (status >= 500) throw new UpstreamError('server', `token service: ${status}`);
  if (status >= 400) return undefined;
  if (status !== 200) throw new UpstreamError('protocol', `token service: ${status}`);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BODY_BYTES) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    throw new UpstreamError('unreachable', 'token service: answer broken off', { cause });
  }
  if (size > MAX_BODY_BYTES) throw new UpstreamError('protocol', 'token service: answer too long');
  return Buffer.concat(chunks);
}

/** No error here has a cause: JSON errors quote the text, which is the secret. */
function readToken(body: Uint8Array): { text: string; life: Milliseconds } {
  const document = readJson(body);
  const text = document?.['token'] ?? document?.['access_token'];
  if (typeof text !== 'string' || !/^[\x21-\x7e]{1,16384}$/.test(text)) {
    throw new UpstreamError('protocol', 'token service: no token in its answer');
  }
  const given = document?.['expires_in'];
  const life = typeof given === 'number' && given > 0 ? ms(given * 1000) : DEFAULT_LIFE;
  return { text, life: ms(Math.min(life, MAX_LIFE)) };
}

function readKept(value: Uint8Array): { text: string; life: number; expiresAt: number } | undefined {
  const { text, life, expiresAt } = readJson(value) ?? {};
  if (typeof text !== 'string' || typeof life !== 'number' || typeof expiresAt !== 'number') return undefined;
  return { text, life, expiresAt };
}

function readJson(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
