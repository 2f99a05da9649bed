import { LRUCache } from 'lru-cache';
import { ms, seconds, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
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
/** Between two refreshes behind the scenes that fail. */
const REFRESH_PAUSE = seconds(5);

export interface TokensParts {
  readonly clock: Clock;
  readonly store: TokenStore;
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
 * ask, one fetch runs per scope, and it belongs to none of the askers.
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
      this.#fetching.run(scope, () => this.#fetch(scope, token.challenge)).catch(() => undefined);
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
    const token = await this.#fetching.run(scope, async () => {
      const stored = await this.#restore(scope, challenge);
      if (stored !== undefined && stored.text !== rejected) return stored;
      if (rejected !== undefined) await this.#forget(scope);
      return this.#fetch(scope, challenge);
    });
    return token?.text;
  }

  #alive(scope: string): Token | undefined {
    const token = this.#remembered.get(scope);
    return token !== undefined && this.#parts.clock.monotonic() < token.expires ? token : undefined;
  }

  async #fetch(scope: string, challenge: Challenge): Promise<Token | undefined> {
    const realm = challenge.parameters.get('realm') ?? '';
    const service = challenge.parameters.get('service');
    try {
      const answer = await this.#parts.fetch(realm, { ...(service === undefined ? {} : { service }), scope });
      const body = await tokenBody(answer, this.#parts.clock.now());
      this.#parts.onFetched(body === undefined ? 'failed' : 'ok');
      if (body === undefined) return undefined;
      const { text, life } = readToken(body);
      this.#keep(scope, text, life);
      return this.#remember(scope, text, challenge, life, life);
    } catch (error) {
      this.#parts.onFetched('failed');
      throw error;
    }
  }

  #remember(scope: string, text: string, challenge: Challenge, left: number, life: number): Token {
    const expires = ms(this.#parts.clock.monotonic() + left);
    const token = { text, challenge, refreshFrom: ms(expires - life * REFRESH_SHARE), expires };
    this.#remembered.set(scope, token);
    return token;
  }

  /** The store may be slow or broken: the token is used without waiting for it. */
  #keep(scope: string, text: string, life: Milliseconds): void {
    const expiresAt = ms(this.#parts.clock.now() + life);
    const value = Buffer.from(JSON.stringify({ text, life, expiresAt }));
    this.#parts.store.put(this.#storeKey(scope), value, expiresAt).catch(() => undefined);
  }

  async #restore(scope: string, challenge: Challenge): Promise<Token | undefined> {
    const value = await this.#parts.store.get(this.#storeKey(scope)).catch(() => undefined);
    const kept = value === undefined ? undefined : readKept(value);
    if (kept === undefined) return undefined;
    // The wall clock may have jumped: a token never lives longer than it was given.
    const left = Math.min(kept.expiresAt - this.#parts.clock.now(), kept.life);
    return left > 0 ? this.#remember(scope, kept.text, challenge, left, kept.life) : undefined;
  }

  async #forget(scope: string): Promise<void> {
    this.#remembered.delete(scope);
    await this.#parts.store.delete(this.#storeKey(scope)).catch(() => undefined);
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
