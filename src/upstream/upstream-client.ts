import { readFileSync } from 'node:fs';
import type { LookupFunction } from 'node:net';
import { ms, seconds, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import { FREE_LEASES, type Leases } from '../lib/leases.ts';
import { classifyAddress, type Classify } from './address-policy.ts';
import { discard, headerOf, type HopAnswer } from './origin-pool.ts';
import { createCredentialSource, type CredentialOptions } from './credentials/create-source.ts';
import type { CredentialSource } from './credentials/credential-source.ts';
import { REDIRECTS, RegistryOrigin, type OriginAnswer } from './registry-origin.ts';
import { parseQuota, parseRetryAfter, ThrottleWindow } from './throttle.ts';
import { trusting } from './trusting.ts';
import {
  UpstreamError,
  type CredentialError,
  type Timeouts,
  type TokenStore,
  type Upstream,
  type UpstreamEvents,
  type UpstreamQuestion,
  type UpstreamResponse,
} from './upstream.ts';

const TIMEOUTS: Timeouts = { connect: seconds(5), headers: seconds(10), bodyIdle: seconds(30) };
const ATTEMPTS = 3;
const FIRST_PAUSE_MS = 100;
const PAUSE_GROWTH = 3;
/** Besides 2xx: what the upstream may say about a question, as opposed to failing at it. */
const ANSWERS = new Set([304, 400, 401, 403, 404, 405, 410, 416]);

/** What another try, or another URL, would not change. */
const FINAL = new Set<UpstreamError['kind']>(['throttled', 'suspended', 'credentials']);

export interface UpstreamClientOptions {
  readonly name: string;
  /** In order of preference. A path is a prefix of every repository. */
  readonly urls: readonly string[];
  readonly credentials?: CredentialOptions | undefined;
  /** Hosts of token services besides the upstream's own host. */
  readonly authHosts: readonly string[];
  /** PEM; trusted besides the system's authorities. */
  readonly ca?: string | undefined;
  /** Hosts that a redirect may lead to although their addresses are not public. */
  readonly allowedRedirectHosts?: readonly string[] | undefined;
}

export interface UpstreamClientParts {
  readonly clock: Clock;
  readonly tokens: TokenStore;
  /** With siblings that share `tokens`: who of them asks for one. */
  readonly leases?: Leases | undefined;
  readonly events?: UpstreamEvents | undefined;
  readonly timeouts?: Partial<Timeouts> | undefined;
  /** 0 to 1, for the jitter. */
  readonly random?: (() => number) | undefined;
  readonly lookup?: LookupFunction | undefined;
  /** For tests, whose servers are all on the loopback interface. */
  readonly classify?: Classify | undefined;
}

/** What one question has tried so far. */
interface Trail {
  /** Failed in this round, in which each URL gets its turn. */
  readonly failed: Set<RegistryOrigin>;
  /** Not to be asked again: it would take as long, or say the same. */
  readonly excluded: Set<RegistryOrigin>;
  rounds: number;
  error: UpstreamError | undefined;
}

export class UpstreamClient implements Upstream {
  readonly name: string;
  readonly ownCredentials: boolean;
  readonly #clock: Clock;
  readonly #events: UpstreamEvents;
  readonly #random: () => number;
  readonly #credentials: CredentialSource;
  readonly #origins: readonly RegistryOrigin[];
  readonly #throttle: ThrottleWindow;
  readonly #closing = new AbortController();
  readonly #listeners: ((available: boolean) => void)[] = [];
  #announced = true;

  constructor(options: UpstreamClientOptions, parts: UpstreamClientParts) {
    const {
      clock,
      tokens,
      leases = FREE_LEASES,
      events = {},
      random = Math.random,
      lookup,
      classify = classifyAddress,
    } = parts;
    const { name } = options;
    this.name = name;
    this.ownCredentials = options.credentials !== undefined;
    this.#clock = clock;
    this.#events = events;
    this.#random = random;
    this.#throttle = new ThrottleWindow(clock, () => this.#announce());
    const timeouts = { ...TIMEOUTS, ...parts.timeouts };
    const shared = {
      upstream: name,
      authHosts: hostSet(options.authHosts),
      redirectHosts: hostSet(options.allowedRedirectHosts ?? []),
      secureContext: options.ca === undefined ? undefined : trusting(options.ca),
      userAgent: `pierhead/${ownVersion()}`,
    };
    const onCredentialsFailed = ({ failure, message }: CredentialError): void =>
      events.credentialsFailed?.(name, failure, message);
    const credentials = createCredentialSource(name, options.credentials, {
      clock,
      onFailure: onCredentialsFailed,
    });
    this.#credentials = credentials;
    const onTokenFetched = (outcome: 'ok' | 'failed'): void => events.tokenFetched?.(name, outcome);
    const onTokenAnswered = (took: Milliseconds): void => events.tokenAnswered?.(name, took);
    this.#origins = options.urls.map((text) => {
      const url = new URL(text);
      const onHealth = (healthy: boolean): void => {
        events.state?.(name, text, healthy);
        this.#announce();
      };
      const told = { onTokenFetched, onTokenAnswered, onCredentialsFailed, onHealth };
      return new RegistryOrigin(
        { ...shared, url },
        { clock, tokens, leases, credentials, timeouts, classify, lookup, ...told },
      );
    });
  }

  get available(): boolean {
    return !this.#throttle.running && this.#origins.some((origin) => origin.health.healthy);
  }

  onAvailability(listener: (available: boolean) => void): void {
    this.#listeners.push(listener);
  }

  async ask(question: UpstreamQuestion): Promise<UpstreamResponse> {
    question.signal?.throwIfAborted();
    const settle = this.#throttle.admit();
    if (settle === undefined) {
      const retryAfterMs = this.#throttle.remaining;
      throw this.#failed(new UpstreamError('throttled', `${this.name} asked for a pause`, { retryAfterMs }));
    }
    try {
      const answer = await this.#tryOrigins(question);
      settle(true);
      const { status, challenges, body } = answer;
      return { status, headers: firstValues(answer), body, ...(challenges && { challenges }) };
    } catch (error) {
      // A caller's quota that is used up is theirs: the others are asked for as before.
      if (error instanceof UpstreamError && error.kind === 'throttled' && question.showing === undefined) {
        this.#throttle.begin(error.retryAfterMs ?? seconds(1));
      }
      settle(question.signal?.aborted !== true);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#credentials.close();
    this.#throttle.close();
    await Promise.all(this.#origins.map((origin) => origin.close()));
  }

  async #tryOrigins(question: UpstreamQuestion): Promise<OriginAnswer> {
    const attempts = question.attempts ?? Math.max(ATTEMPTS, this.#origins.length);
    const trail: Trail = { failed: new Set(), excluded: new Set(), rounds: 0, error: undefined };
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const origin = await this.#nextOrigin(trail, question.signal);
      if (origin === undefined) break;
      try {
        return await this.#attempt(origin, question);
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error;
        trail.error = this.#failed(error);
        if (FINAL.has(error.kind)) break;
        if (error.kind === 'timeout' || error.kind === 'protocol') trail.excluded.add(origin);
        trail.failed.add(origin);
      }
    }
    throw (
      trail.error ?? this.#failed(new UpstreamError('suspended', `${this.name} failed lately: not asked`))
    );
  }

  /** The best URL that has not failed yet; when all have, a pause and the best again. */
  async #nextOrigin(trail: Trail, signal: AbortSignal | undefined): Promise<RegistryOrigin | undefined> {
    if (this.#closing.signal.aborted) return undefined;
    const usable = (): RegistryOrigin[] =>
      this.#origins.filter((one) => one.health.healthy && !trail.excluded.has(one));
    const fresh = usable().find((one) => !trail.failed.has(one));
    if (fresh !== undefined || usable().length === 0) return fresh;
    trail.failed.clear();
    const pause = FIRST_PAUSE_MS * PAUSE_GROWTH ** trail.rounds * (0.5 + this.#random());
    trail.rounds += 1;
    const ending =
      signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    // A sleep rejects only when it is aborted.
    await this.#clock.sleep(ms(pause), ending).catch(() => undefined);
    signal?.throwIfAborted();
    return this.#closing.signal.aborted ? undefined : usable()[0];
  }

  async #attempt(origin: RegistryOrigin, question: UpstreamQuestion): Promise<OriginAnswer> {
    const started = this.#clock.monotonic();
    const answer = await origin.ask(question);
    this.#events.answered?.(this.name, answer.status, ms(this.#clock.monotonic() - started));
    if (question.path.startsWith('manifests/')) this.#tellQuota(answer);
    const redirected = question.redirects === 'answer' && REDIRECTS.has(answer.status);
    const failure = redirected ? undefined : failureOf(answer, this.#clock);
    if (failure === undefined) return answer;
    discard(answer);
    const [kind, what, retryAfterMs] = failure;
    const [path = ''] = question.path.split('?', 1);
    const about = question.repository === undefined ? path : `${question.repository}/${path}`;
    const message = `${question.method} ${about} of ${origin.url.origin}: ${what}`;
    throw new UpstreamError(kind, message, retryAfterMs === undefined ? {} : { retryAfterMs });
  }

  #tellQuota(answer: HopAnswer): void {
    const quota = parseQuota(headerOf(answer, 'ratelimit-limit'), headerOf(answer, 'ratelimit-remaining'));
    if (quota !== undefined) this.#events.quota?.(this.name, quota);
  }

  #failed(error: UpstreamError): UpstreamError {
    this.#events.failed?.(this.name, error.kind);
    return error;
  }

  #announce(): void {
    const { available } = this;
    if (available === this.#announced) return;
    this.#announced = available;
    for (const listener of this.#listeners) listener(available);
  }
}

type Failure = readonly [
  kind: UpstreamError['kind'],
  what: string,
  retryAfterMs?: UpstreamError['retryAfterMs'],
];

function failureOf(answer: HopAnswer, clock: Clock): Failure | undefined {
  const { status } = answer;
  if (status === 429) {
    return ['throttled', '429', parseRetryAfter(headerOf(answer, 'retry-after'), clock.now())];
  }
  if (status >= 500) return ['server', String(status)];
  if ((status < 200 || status > 299) && !ANSWERS.has(status)) {
    return ['protocol', `${status}, which says nothing here`];
  }
  const encoding = headerOf(answer, 'content-encoding') ?? 'identity';
  // We ask for identity only: to decode what comes all the same would be to trust its size (CVE-2026-22036).
  return encoding.trim().toLowerCase() === 'identity' || status === 304
    ? undefined
    : ['protocol', 'an encoded body'];
}

function firstValues(answer: HopAnswer): Record<string, string> {
  // fromEntries defines properties, so that even a header called __proto__ is one.
  return Object.fromEntries(
    Object.keys(answer.headers).map((name) => [name.toLowerCase(), headerOf(answer, name) ?? '']),
  );
}

function hostSet(hosts: readonly string[]): ReadonlySet<string> {
  return new Set(hosts.map((host) => host.toLowerCase()));
}

function ownVersion(): string {
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(file) as { version: string };
  return version;
}
