import type { LookupFunction } from 'node:net';
import type { Readable } from 'node:stream';
import type { SecureContext } from 'node:tls';
import { Agent, errors, type Dispatcher } from 'undici';
import { AddressRefusedError } from './address-policy.ts';
import { transferGuard } from './transfer-guard.ts';
import { UpstreamError, type Timeouts } from './upstream.ts';

/** Twice what fills may hold, so that questions never wait for transfers; the rest of a flood waits its turn. */
const MAX_CONNECTIONS = 128;
const MAX_HEADER_BYTES = 16 * 1024;
/** A body that nobody wants is read up to here, to keep its connection; longer ones cost the connection. */
const MAX_DISCARDED_BYTES = 64 * 1024;

export interface PoolOptions {
  readonly lookup: LookupFunction;
  readonly secureContext: SecureContext | undefined;
  readonly timeouts: Timeouts;
  readonly userAgent: string;
}

export interface HopRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  /** Sent as it stands; by default the path of the URL. */
  readonly path?: string | undefined;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The answer of one server, whatever its status. */
export interface HopAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable & { dump(options: { limit: number }): Promise<void> };
}

/** Keep-alive connections of one security class: who is in the pool was admitted by the pool's own lookup. */
export class OriginPool {
  readonly #agent: Agent;
  readonly #dispatcher: Dispatcher;
  readonly #userAgent: string;

  constructor({ lookup, secureContext, timeouts, userAgent }: PoolOptions) {
    this.#agent = new Agent({
      connect: { lookup, ...(secureContext === undefined ? {} : { secureContext }) },
      connectTimeout: timeouts.connect,
      headersTimeout: 0, // the guard's
      bodyTimeout: timeouts.bodyIdle,
      maxHeaderSize: MAX_HEADER_BYTES,
      pipelining: 1,
      connections: MAX_CONNECTIONS,
      allowH2: false,
    });
    this.#dispatcher = this.#agent.compose(transferGuard(timeouts));
    this.#userAgent = userAgent;
  }

  /** @throws {UpstreamError} when no answer came; the signal's reason after an abort. */
  async send({ method, url, path, headers, body, signal }: HopRequest): Promise<HopAnswer> {
    try {
      const answer = await this.#dispatcher.request({
        origin: url.origin,
        path: path ?? url.pathname + url.search,
        method,
        headers: { ...headers, 'accept-encoding': 'identity', 'user-agent': this.#userAgent },
        body: body ?? null,
        signal: signal ?? null,
      });
      // An unwanted body is destroyed before its end, which undici reports as an error: it must not end the process.
      answer.body.on('error', () => undefined);
      return { status: answer.statusCode, headers: answer.headers, body: answer.body };
    } catch (error) {
      signal?.throwIfAborted();
      throw explain(error, url.origin);
    }
  }

  /** Ends bodies on their way too. */
  async destroy(): Promise<void> {
    await this.#agent.destroy();
  }
}

/** Lets go of an answer whose body does not matter. */
export function discard({ body }: HopAnswer): void {
  // The dump fails when the body breaks: nobody reads it anyhow.
  body.dump({ limit: MAX_DISCARDED_BYTES }).catch(() => undefined);
}

/** The first value of a header. */
export function headerOf(answer: HopAnswer, name: string): string | undefined {
  const value = answer.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

const TIMEOUT_CODES = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'ETIMEDOUT']);
const CLOSED_CODES = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED']);

/** Names the origin only: the rest of a URL may be a signature. */
function explain(error: unknown, origin: string): unknown {
  if (error instanceof errors.InvalidArgumentError) return error; // our own mistake, not the upstream's
  if (error instanceof AddressRefusedError)
    return new UpstreamError('protocol', `${origin}: ${error.message}`);
  const code = codeOf(error);
  if (CLOSED_CODES.has(code)) return new UpstreamError('suspended', `${origin}: the client is closed`);
  if (TIMEOUT_CODES.has(code)) return new UpstreamError('timeout', `${origin}: ${code}`, { cause: error });
  if (error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError) {
    // The error itself carries a piece of the answer, which is not for the log.
    return new UpstreamError('protocol', `${origin} sent no valid HTTP (${code})`);
  }
  return new UpstreamError('unreachable', `${origin}: ${code}`, { cause: error });
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
