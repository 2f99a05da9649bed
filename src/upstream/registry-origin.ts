import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { Clock } from '../lib/clock.ts';
import type { Leases } from '../lib/leases.ts';
import {
  AddressRefusedError,
  checkedLookup,
  HomeAddress,
  mayReach,
  type AddressClass,
  type Classify,
} from './address-policy.ts';
import { Authentication, type AuthenticationEvents, type Shown } from './credentials/authentication.ts';
import type { CredentialSource } from './credentials/credential-source.ts';
import { OriginHealth } from './health.ts';
import { discard, headerOf, OriginPool, type HopAnswer, type HopRequest } from './origin-pool.ts';
import { mayRedirectAnywhere, redirectTarget, type TargetRules } from './targets.ts';
import { passedChallenges } from './callers/passed-challenges.ts';
import {
  UpstreamError,
  type Showing,
  type Timeouts,
  type TokenStore,
  type UpstreamQuestion,
} from './upstream.ts';

const MAX_REDIRECTS = 3;
/** What distribution's `_catalog` asks for. */
const CATALOG_SCOPE = 'registry:catalog:*';
export const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** What must not follow a redirect to another origin (CVE-2020-15157). */
const PRIVATE_HEADERS = ['authorization', 'cookie', 'proxy-authorization'];
const DENIALS = new Set([400, 401, 403, 405]);

export interface OriginOptions {
  readonly upstream: string;
  readonly url: URL;
  readonly authHosts: ReadonlySet<string>;
  readonly redirectHosts: ReadonlySet<string>;
  readonly secureContext: SecureContext | undefined;
  readonly userAgent: string;
}

export interface OriginParts extends AuthenticationEvents {
  readonly clock: Clock;
  readonly tokens: TokenStore;
  readonly credentials: CredentialSource;
  readonly leases: Leases;
  readonly timeouts: Timeouts;
  readonly classify: Classify;
  readonly lookup?: LookupFunction | undefined;
  readonly onHealth: (healthy: boolean) => void;
}

export interface OriginAnswer extends HopAnswer {
  /** As {@link UpstreamResponse.challenges}. */
  readonly challenges?: readonly string[];
}

interface Exchange {
  readonly answer: HopAnswer;
  readonly sent: HopRequest;
}

/** One URL of an upstream: its connections, its tokens, its redirects and its health. */
export class RegistryOrigin {
  readonly url: URL;
  readonly health: OriginHealth;
  /** A path in the URL is a prefix of every repository: a project of the registry. */
  readonly #prefix: string;
  readonly #rules: TargetRules;
  readonly #authentication: Authentication;
  /** The registry itself. */
  readonly #home: OriginPool;
  /** Redirect targets and realms: each address is checked when it is connected to. */
  readonly #checked: OriginPool;
  /** Redirect targets that the operator allowed by name. */
  readonly #allowed: OriginPool;

  constructor(options: OriginOptions, parts: OriginParts) {
    const { url, authHosts, redirectHosts } = options;
    const { clock, classify, timeouts, lookup = systemLookup } = parts;
    this.url = url;
    this.#prefix = url.pathname.replace(/\/*$/, '/').slice(1);
    const home = new HomeAddress(url.hostname, classify);
    this.#rules = { home: url, homeClass: () => home.class, classify, authHosts, redirectHosts };
    const pool = (poolLookup: LookupFunction): OriginPool =>
      new OriginPool({ ...options, lookup: poolLookup, timeouts });
    this.#home = pool(checkedLookup(lookup, (addresses) => home.refusal(addresses)));
    this.#checked = pool(checkedLookup(lookup, (addresses) => refusal(addresses.map(classify), home.class)));
    this.#allowed = pool(lookup);
    this.#authentication = new Authentication({
      ...parts,
      upstream: options.upstream,
      rules: this.#rules,
      ask: (request) => (request.url.origin === url.origin ? this.#home : this.#checked).send(request),
    });
    this.health = new OriginHealth({
      clock,
      probe: (signal) => this.#probe(signal),
      onChange: parts.onHealth,
    });
  }

  /**
   * One attempt: the registry, its token service when it wants one, and its redirects.
   * @throws {UpstreamError}
   */
  async ask(question: UpstreamQuestion): Promise<OriginAnswer> {
    const repository = question.repository && `${this.#prefix}${question.repository}`;
    const request: HopRequest = {
      method: question.method,
      url: this.url,
      path: repository === undefined ? `/v2/${question.path}` : `/v2/${repository}/${question.path}`,
      headers: lowerCased(question.headers ?? {}),
      signal: question.signal,
    };
    const scope = repository === undefined ? CATALOG_SCOPE : `repository:${repository}:pull`;
    const { answer, sent } =
      question.showing === undefined
        ? await this.#askAuthenticated(request, scope)
        : await this.#askShowing(request, question.showing);
    const followed = question.redirects !== 'answer' && REDIRECTS.has(answer.status);
    const last = followed ? await this.#follow(answer, sent) : answer;
    return question.showing !== undefined && last.status === 401 ? this.#withChallenges(last) : last;
  }

  async close(): Promise<void> {
    this.health.close();
    await Promise.all([this.#home, this.#checked, this.#allowed].map((pool) => pool.destroy()));
  }

  /** Nothing of the edge's own is sent, not even after a 401. */
  async #askShowing(request: HopRequest, { authorization }: Showing): Promise<Exchange> {
    const sent = withAuthorization(request, authorization);
    return { answer: await this.#askHome(sent), sent };
  }

  #withChallenges(answer: HopAnswer): OriginAnswer {
    try {
      return { ...answer, challenges: passedChallenges(answer.headers['www-authenticate'], this.#rules) };
    } catch (error) {
      discard(answer);
      throw error;
    }
  }

  /** Answers one challenge, and one more with other credentials: what then comes is the registry's word. */
  async #askAuthenticated(request: HopRequest, scope: string): Promise<Exchange> {
    const { signal } = request;
    const first = await orAborted(this.#authentication.atFirst(scope), signal);
    const exchange = await this.#show(request, first);
    if (exchange.answer.status !== 401) return exchange;
    const second = await this.#showAfter(exchange, first, request, scope);
    // A new token that is refused too: another one would be.
    if (second.shown === undefined || 'token' in second.shown || second.answer.status !== 401) return second;
    return await this.#showAfter(second, second.shown, request, scope);
  }

  /** The exchange itself when there is nothing else to show. */
  async #showAfter(
    exchange: Exchange,
    refused: Shown | undefined,
    request: HopRequest,
    scope: string,
  ): Promise<Exchange & { readonly shown?: Shown }> {
    const { answer } = exchange;
    try {
      const shown = await orAborted(this.#authentication.after(refused, answer, scope), request.signal);
      if (shown === undefined) return exchange;
      discard(answer);
      return { ...(await this.#show(request, shown)), shown };
    } catch (error) {
      discard(answer);
      throw error;
    }
  }

  async #show(request: HopRequest, shown: Shown | undefined): Promise<Exchange> {
    const authorization = shown && this.#authentication.headerFor(shown);
    const sent = withAuthorization(request, authorization);
    return { answer: await this.#askHome(sent), sent };
  }

  /** Only what the registry itself does counts for its health, not its token service or its storage. */
  async #askHome(request: HopRequest): Promise<HopAnswer> {
    try {
      const answer = await this.#home.send(request);
      if (answer.status >= 500) this.health.failed();
      else this.health.succeeded();
      return answer;
    } catch (error) {
      if (error instanceof UpstreamError && error.kind !== 'suspended') this.health.failed();
      throw error;
    }
  }

  async #follow(first: HopAnswer, request: HopRequest): Promise<HopAnswer> {
    let answer = first;
    let from = new URL(request.path ?? '/', this.url);
    let { headers } = request;
    for (let hop = 1; REDIRECTS.has(answer.status); hop += 1) {
      discard(answer);
      if (hop > MAX_REDIRECTS) {
        throw new UpstreamError('protocol', `${this.url.origin}: more than ${MAX_REDIRECTS} redirects`);
      }
      const target = redirectTarget(headerOf(answer, 'location'), from, this.#rules);
      if (target.origin !== from.origin) headers = withoutPrivate(headers);
      answer = await this.#poolFor(target).send({ ...request, url: target, path: undefined, headers });
      from = target;
    }
    if (from.origin === this.url.origin || !DENIALS.has(answer.status)) return answer;
    // Storage that turns a signed URL away has said nothing about the repository: another signature may do.
    discard(answer);
    throw new UpstreamError('server', `${from.origin}: ${answer.status} after a redirect`);
  }

  #poolFor(target: URL): OriginPool {
    if (target.origin === this.url.origin) return this.#home;
    return mayRedirectAnywhere(target, this.#rules) ? this.#allowed : this.#checked;
  }

  async #probe(signal: AbortSignal): Promise<boolean> {
    const answer = await this.#home.send({ method: 'GET', url: this.url, path: '/v2/', headers: {}, signal });
    discard(answer);
    return answer.status < 500;
  }
}

function refusal(classes: readonly AddressClass[], home: AddressClass): Error | undefined {
  const refused = classes.find((kind) => !mayReach(kind, home));
  return refused && new AddressRefusedError(`the name leads to a ${refused} address`);
}

function withoutPrivate(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !PRIVATE_HEADERS.includes(name)));
}

function withAuthorization(request: HopRequest, authorization: string | undefined): HopRequest {
  return authorization === undefined
    ? request
    : { ...request, headers: { ...request.headers, authorization } };
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** Waits with the asker; the work itself goes on, because others may wait for it too. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason as Error);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
