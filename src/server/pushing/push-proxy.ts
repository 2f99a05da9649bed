import type { Agent, ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { createProxyServer } from 'http-proxy-3';
import { seconds } from '../../lib/brand.ts';
import { RegistryError } from '../../oci/error-codes.ts';
import type { PushUpstream } from '../../registry/push/upload-locations.ts';
import type { UpstreamReply } from '../../registry/push/upstream-reply.ts';
import { bodyTooSlow, type BodyPace } from './body-pace.ts';
import { MalformedRequest } from '../request-check.ts';

/** An upstream that may be pushed to, with the connections to it. */
export interface PushTarget extends PushUpstream {
  readonly agent: Agent;
  /** What of the upstream's `WWW-Authenticate` a client may be told. @throws {Error} fit for the log */
  readonly challenges: (header: string | readonly string[] | undefined) => readonly string[];
}

export interface Outgoing {
  readonly target: PushTarget;
  /** Path and query. */
  readonly path: string;
  /** Everything that the upstream is to see, names in lower case. */
  readonly headers: Record<string, string>;
  /** Told of each piece of the body. */
  readonly received: (bytes: number) => void;
}

const CONNECT_TIMEOUT = seconds(5);
/** Without a byte either way. A registry hashes or moves a whole blob before it answers the last request of an upload. */
const SILENCE_TIMEOUT = seconds(300);

/** The client went away before its push was answered. */
export class ClientGone extends RegistryError {
  constructor(cause: unknown) {
    super('UNKNOWN', 'the client went away', { cause });
  }
}

interface Exchange {
  readonly reply: PromiseWithResolvers<IncomingMessage>;
  outgoing?: ClientRequest;
  over: boolean;
}

/**
 * Streams pushes to their upstreams: no more of a body is in memory than sockets hold, and a slow upstream slows the client
 * down. What goes out and what comes back is decided elsewhere; here the bytes are moved.
 */
export class PushProxy {
  readonly #pace: BodyPace;
  readonly #exchanges = new WeakMap<IncomingMessage, Exchange>();
  // `ignorePath`: the target is path and query. `selfHandleResponse`: nothing of the upstream's passes unseen.
  readonly #proxy = createProxyServer({
    ignorePath: true,
    selfHandleResponse: true,
    connectTimeout: CONNECT_TIMEOUT,
    proxyTimeout: SILENCE_TIMEOUT,
  });

  constructor(pace: BodyPace) {
    this.#pace = pace;
    this.#proxy.on('proxyReq', (outgoing, request) => {
      const exchange = this.#exchanges.get(request);
      if (exchange === undefined || exchange.over) outgoing.destroy();
      else exchange.outgoing = outgoing;
    });
    this.#proxy.on('proxyRes', (reply, request) => this.#exchanges.get(request)?.reply.resolve(reply));
    this.#proxy.on('econnreset', (error, request) =>
      this.#exchanges.get(request)?.reply.reject(new ClientGone(error)),
    );
  }

  /**
   * Resolves with the upstream's answer, its body to be read by the caller.
   * @throws {RegistryError} UNAVAILABLE when there is none, ClientGone, or 408 for a body that trickles.
   */
  async send(request: IncomingMessage, response: ServerResponse, outgoing: Outgoing): Promise<UpstreamReply> {
    const exchange: Exchange = { reply: Promise.withResolvers(), over: false };
    this.#exchanges.set(request, exchange);
    // Only here is it certain that the body is wanted.
    if (request.headers.expect !== undefined) response.writeContinue();
    // The library sends on what stands in the request's headers; it also is what frames the body, by `content-length` or in chunks.
    request.headers = { ...outgoing.headers };
    const { url, agent } = outgoing.target;
    const target = targetUrl(url, outgoing.path);
    this.#proxy.web(request, response, { target, agent }, (error) =>
      exchange.reply.reject(response.destroyed ? new ClientGone(error) : unavailable(error)),
    );
    const count = (chunk: Buffer): void => outgoing.received(chunk.byteLength);
    request.on('data', count);
    const watch = new AbortController();
    const slow = bodyTooSlow(request, this.#pace, watch.signal).then(() => {
      throw new MalformedRequest(408, 'the body came too slowly');
    });
    try {
      const reply = await Promise.race([exchange.reply.promise, slow]);
      // A body that breaks is an error of whoever reads it.
      reply.on('error', () => undefined);
      // Answered early, which only refusals are: the upstream wants no more of the body, and its connection is of no more use.
      if (!request.complete) reply.once('close', () => exchange.outgoing?.destroy());
      return { status: reply.statusCode ?? 0, headers: reply.headers, body: reply };
    } catch (error) {
      exchange.outgoing?.destroy();
      throw error;
    } finally {
      exchange.over = true;
      watch.abort();
      request.removeListener('data', count);
    }
  }
}

/** Set part by part: a path that begins with `//` must not become a host. */
function targetUrl(origin: URL, path: string): URL {
  const url = new URL(origin.origin);
  const question = path.indexOf('?');
  url.pathname = question === -1 ? path : path.slice(0, question);
  url.search = question === -1 ? '' : path.slice(question);
  if (url.pathname + url.search !== path)
    throw new RegistryError('BLOB_UPLOAD_UNKNOWN', 'the target is not plainly written');
  return url;
}

function unavailable(cause: Error): RegistryError {
  return new RegistryError('UNAVAILABLE', 'the push did not come through to the upstream', { cause });
}
