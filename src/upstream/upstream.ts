import type { Readable } from 'node:stream';
import type { Milliseconds } from '../lib/brand.ts';
import type { RepositoryName } from '../oci/repository-name.ts';

export interface UpstreamQuestion {
  readonly method: 'GET' | 'HEAD';
  /**
   * Also the scope of the token: `repository:<name>:pull`. Undefined for the registry's own `_catalog`, whose scope is
   * `registry:catalog:*`; a path in the upstream's URL is no part of that question.
   */
  readonly repository: RepositoryName | undefined;
  /** What follows `/v2/<repository>/`: `manifests/latest`, `blobs/sha256:…`, `tags/list?n=5`. */
  readonly path: string;
  /** `Accept`, `Range`, `If-Range`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What a caller shows, in place of all that is the edge's own: a 401 is the answer then, with its challenges. */
  readonly showing?: Showing | undefined;
  /** `answer`: a redirect is not followed, and its status is the answer. */
  readonly redirects?: 'follow' | 'answer';
  readonly signal?: AbortSignal;
  /** Attempts in all, 1 = no retry. Default 3, or the number of URLs when there are more. */
  readonly attempts?: number;
}

export interface Showing {
  /** Undefined: nothing. A secret. */
  readonly authorization: string | undefined;
}

export interface UpstreamResponse {
  readonly status: number;
  /** Of a 401 to what a caller has shown: values of `WWW-Authenticate` that may go on to the caller. */
  readonly challenges?: readonly string[] | undefined;
  /** Names in lower case; of a repeated header only the first value. */
  readonly headers: Readonly<Record<string, string>>;
  /** To be consumed or destroyed by the caller. What breaks after the headers is an error of this stream. */
  readonly body: Readable;
}

/**
 * - `unreachable`: no connection, or it broke before the headers. - `timeout`: connecting or the headers took too long.
 * - `server`: 5xx. - `throttled`: 429, or the time it asked for has not passed. - `suspended`: not asked, because each
 * URL failed lately, or the client is closed. - `protocol`: an answer that cannot or must not be used.
 * - `credentials`: not asked, because the source of our credentials gave none.
 */
export type UpstreamFailure =
  'unreachable' | 'timeout' | 'server' | 'throttled' | 'protocol' | 'suspended' | 'credentials';

/** The upstream gave no usable answer. The message holds no secrets and no query of a redirect target. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError';
  readonly kind: UpstreamFailure;
  /** With `throttled`: how long the upstream wants to be left alone. */
  readonly retryAfterMs?: Milliseconds;

  constructor(
    kind: UpstreamFailure,
    message: string,
    options: { cause?: unknown; retryAfterMs?: Milliseconds } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs;
  }
}

/**
 * What went wrong with credentials: of the program that gives them, that it is not there (`missing`), failed (`exit`),
 * took too long (`timeout`), printed what cannot be read (`output`), has none (`absent`) or old ones (`expired`);
 * `refused`: the registry or its token service does not take them; `unusable`: it takes none of their kind.
 */
export type CredentialFailure =
  'missing' | 'exit' | 'timeout' | 'output' | 'absent' | 'expired' | 'refused' | 'unusable';

/** There are no credentials to ask with. The message names the upstream and the program, and holds no secret. */
export class CredentialError extends UpstreamError {
  readonly failure: CredentialFailure;

  constructor(failure: CredentialFailure, message: string) {
    super('credentials', message);
    this.failure = failure;
  }
}

export interface Upstream {
  readonly name: string;
  /** Whether the edge has credentials for it. */
  readonly ownCredentials: boolean;
  /**
   * Resolves with the upstream's word on the question: 2xx, 304, 400, 401, 403, 404, 405, 410, 416; 401 and 403 only
   * after authentication was tried as far as it can be.
   * @throws {UpstreamError} for everything else; the signal's reason after an abort.
   */
  ask(question: UpstreamQuestion): Promise<UpstreamResponse>;
  /** False while each URL is suspended, or while the upstream wants to be left alone (429). */
  readonly available: boolean;
  onAvailability(listener: (available: boolean) => void): void;
  /** Ends probes, refreshes, connections and bodies. */
  close(): Promise<void>;
}

/** Pulls that the registry grants in its window of time, and how many of them are left. */
export interface Quota {
  readonly limit: number;
  readonly remaining: number;
}

/** For metrics. None may throw. */
export interface UpstreamEvents {
  /** The final status of one attempt, authentication and redirects included, and how long its headers took. */
  answered?(upstream: string, status: number, ms: Milliseconds): void;
  /** One attempt failed, or was refused at once (`throttled`, `suspended`). */
  failed?(upstream: string, kind: UpstreamFailure): void;
  tokenFetched?(upstream: string, outcome: 'ok' | 'failed'): void;
  /** How long the headers of a token service's answer took, whatever it said. */
  tokenAnswered?(upstream: string, ms: Milliseconds): void;
  /** `message` is fit for a log. */
  credentialsFailed?(upstream: string, failure: CredentialFailure, message: string): void;
  /** What an answer about a manifest said of our quota of pulls. */
  quota?(upstream: string, quota: Quota): void;
  state?(upstream: string, url: string, healthy: boolean): void;
}

export interface Timeouts {
  /** DNS, TCP and TLS together. */
  readonly connect: Milliseconds;
  /** From the written request to the last header. */
  readonly headers: Milliseconds;
  /** Between two pieces of a body; also the window in which a body must keep its least rate. */
  readonly bodyIdle: Milliseconds;
}

/** Keeps tokens across restarts, and shares them with the other edges of a site. A fault of the store is a miss. */
export interface TokenStore {
  get(key: string): Promise<Uint8Array | undefined>;
  /** What another edge may have put meanwhile, past the copy here. A store that is not shared has none. */
  latest?(key: string): Promise<Uint8Array | undefined>;
  /** @param expiresAt on the wall clock. */
  put(key: string, value: Uint8Array, expiresAt: Milliseconds): Promise<void>;
  delete(key: string): Promise<void>;
}
