import { randomUUID } from 'node:crypto';
import {
  createServer,
  STATUS_CODES,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { Server as TlsServer } from 'node:tls';
import type { IpRules } from '../access/ip-rules.ts';
import type { ServerContexts } from '../tls/serving/server-contexts.ts';
import { guardConnections } from './connection-guard.ts';
import { KEEP_ALIVE_MS, MAX_REQUESTS_PER_SOCKET } from './keep-alive.ts';
import type { Pipeline } from './pipeline.ts';
import { HitLane } from './hit-lane/hit-lane.ts';
import type { Hits } from './hit-lane/hits.ts';
import { Turns } from './turns.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ListenerParts {
  readonly pipeline: Pipeline;
  readonly hits: Hits;
  readonly rules: IpRules;
  /** The address rules turned a peer away. */
  readonly refused: (peer: string) => void;
  /** Whether bodies may be long: see `body-pace.ts` for what holds then in place of `requestTimeout`. */
  readonly pushes: boolean;
}

const MAX_HEADER_BYTES = 16 * 1024;
const HTTP_OPTIONS: ServerOptions = {
  maxHeaderSize: MAX_HEADER_BYTES,
  headersTimeout: 10_000,
  connectionsCheckingInterval: 1000,
  keepAliveTimeout: KEEP_ALIVE_MS,
  noDelay: true,
  // Node's own refusal has no body: the pipeline says what was wrong.
  requireHostHeader: false,
};
/** The body of a pull is empty: a request that is not whole by then never will be. */
const PULL_REQUEST_TIMEOUT = 15_000;
const MAX_CONNECTIONS = 4096;

/** A port that is served. */
export interface Listener {
  readonly address: Address;
  /** For the handshakes from here on; open connections keep what they have. TLS only. */
  readonly renew?: (contexts: ServerContexts) => void;
  /** Closes the open connections that the address rules, having changed, do not admit any more. */
  enforce(): void;
  /** Takes no more connections and ends the idle ones; resolves when the last is gone. */
  drain(): Promise<void>;
  /** Ends what is still there, with FIN. */
  destroy(): void;
}

/** @throws the socket's error (EADDRINUSE, EACCES, …) when the address cannot be had. */
export function listenPlain(address: Address, parts: ListenerParts): Promise<Listener> {
  return listen(createServer(httpOptions(parts)), address, parts);
}

export async function listenSecure(
  address: Address,
  contexts: ServerContexts,
  parts: ListenerParts,
): Promise<Listener> {
  let served = contexts;
  const server = createSecureServer({
    ...httpOptions(parts),
    ...contexts.options,
    SNICallback: (servername, done) => done(null, served.contextFor(servername)),
  });
  const listener = await listen(server, address, parts);
  const renew = (renewed: ServerContexts): void => {
    // All options, since what is not given again is forgotten.
    server.setSecureContext(renewed.options);
    served = renewed;
  };
  // In a cluster, listening brings the ticket keys of the first worker that ever listened there: those of before a reload
  // in a worker that comes after it.
  renew(contexts);
  return { ...listener, renew };
}

function httpOptions({ pushes }: ListenerParts): ServerOptions {
  return { ...HTTP_OPTIONS, requestTimeout: pushes ? 0 : PULL_REQUEST_TIMEOUT };
}

async function listen(
  server: Server | SecureServer,
  address: Address,
  parts: ListenerParts,
): Promise<Listener> {
  let draining = false;
  server.maxConnections = MAX_CONNECTIONS;
  // Node drops headers over its count without a word; ours are counted and refused instead.
  server.maxHeadersCount = 0;
  const turns = new Turns();
  const latest = new WeakMap<Duplex, IncomingMessage>();
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    latest.set(request.socket, request);
    const count = turns.take(request.socket, response, () => {
      if (draining) response.setHeader('connection', 'close');
      return parts.pipeline.handle(request, response);
    });
    // Not Node's `maxRequestsPerSocket`: it answers what was sent beyond that with a bare 503.
    if (count >= MAX_REQUESTS_PER_SOCKET) response.setHeader('connection', 'close');
    // An answer that had begun before the drain has promised to keep the connection.
    response.once('close', () => {
      if (draining) request.socket.destroySoon();
    });
  };
  // With `Expect` as without: whoever wants the body says so (`push-proxy.ts`), and a refusal needs no interim answer.
  for (const event of ['request', 'checkContinue', 'checkExpectation']) server.on(event, answer);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const request = latest.get(socket);
    // A body that is being passed on broke off: its answer would wait for the rest for ever.
    if (request !== undefined && !request.complete && request.readableFlowing !== null) socket.destroy();
    else void refuse(error, socket, turns);
  });
  const event = server instanceof TlsServer ? 'secureConnection' : 'connection';
  const lane = new HitLane(server, event, (head, socket, last) => parts.hits.find(head, socket, last));
  const enforce = guardConnections(server, parts.rules, parts.refused);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address.host, port: address.port, backlog: 1024 }, resolve);
  });
  const bound = server.address();
  return {
    address: typeof bound === 'object' && bound !== null ? { host: address.host, port: bound.port } : address,
    enforce,
    drain: () => {
      draining = true;
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
        lane.drain();
      });
    },
    destroy: () => {
      server.closeAllConnections();
      lane.destroy();
    },
  };
}

/**
 * What is not HTTP gets one short answer and the end; nothing of what was sent is repeated. It stands behind the
 * answers that are due, never in the middle of one.
 */
async function refuse(error: NodeJS.ErrnoException, socket: Duplex, turns: Turns): Promise<void> {
  if (error.code !== 'ECONNRESET') await turns.over(socket);
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, detail] = REFUSALS[error.code ?? ''] ?? [400, 'this is not a well-formed HTTP/1.1 request'];
  const body = JSON.stringify({ errors: [{ code: 'UNSUPPORTED', message: STATUS_CODES[status], detail }] });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Docker-Distribution-Api-Version: registry/2.0',
    `X-Request-Id: ${randomUUID()}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

const REFUSALS: Readonly<Record<string, readonly [number, string]>> = {
  HPE_HEADER_OVERFLOW: [431, `the headers are larger than ${MAX_HEADER_BYTES} bytes`],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request did not come to its end in time'],
};
