import { randomUUID, type X509Certificate } from 'node:crypto';
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
import type { ListenerNetworks } from '../access/listener-networks.ts';
import { seconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import type { ServerContexts } from '../tls/serving/server-contexts.ts';
import { guardCertificates } from './certificate-guard.ts';
import { guardConnections } from './connections/connection-guard.ts';
import type { Connections } from './connections/connections.ts';
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
  readonly networks: ListenerNetworks;
  readonly connections: Connections;
  readonly clock: Clock;
  /** Whether bodies may be long: see `body-pace.ts` for what holds then in place of `requestTimeout`. */
  readonly pushes: boolean;
  /** Whether a client certificate is let in by what is in force now. */
  readonly admits: (certificate: X509Certificate) => boolean;
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
/** Requests that were sent without waiting for their answers: each is held in memory, and no registry client sends any. */
const MAX_DUE = 100;
/** For a client to see why it is refused. */
const LINGER = seconds(2);
const HANDSHAKE_TIMEOUT = 10_000;

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

function isFlowing({ complete, readableFlowing }: IncomingMessage): boolean {
  return !complete && readableFlowing !== null;
}

/** A port that is served. */
export interface Listener {
  readonly address: Address;
  /** For the handshakes from here on; open connections keep what they have. TLS only. */
  readonly renew?: (contexts: ServerContexts) => void;
  /** Closes the open connections that the rules on addresses and client certificates, having changed, do not admit any more. */
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
    handshakeTimeout: HANDSHAKE_TIMEOUT,
    SNICallback: (servername, done) => done(null, served.contextFor(servername)),
  });
  const closeUnadmitted = guardCertificates(server, parts.admits);
  const listener = await listen(server, address, parts);
  const renew = (renewed: ServerContexts): void => {
    renewed.applyTo(server);
    served = renewed;
  };
  const enforce = (): void => {
    listener.enforce();
    closeUnadmitted();
  };
  // In a cluster, listening brings the ticket keys of the first worker that ever listened there: those of before a reload
  // in a worker that comes after it.
  renew(contexts);
  return { ...listener, enforce, renew };
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
  // Node drops headers over its count without a word; ours are counted and refused instead.
  server.maxHeadersCount = 0;
  const turns = new Turns();
  const latest = new WeakMap<Duplex, Exchange>();
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    if (turns.due(request.socket) >= MAX_DUE) return parts.connections.cut(request.socket, 'pipelined');
    latest.set(request.socket, { request, response });
    // Read first: a push changes the headers.
    const upgrades = request.headers.upgrade !== undefined;
    const count = turns.take(request.socket, response, () => {
      if (draining) response.setHeader('connection', 'close');
      return parts.pipeline.handle(request, response);
    });
    // Not Node's `maxRequestsPerSocket`: it answers what was sent beyond that with a bare 503.
    // After a request that would upgrade, Node reads no further on that connection, whether or not it was taken up.
    if (count >= MAX_REQUESTS_PER_SOCKET || upgrades) response.setHeader('connection', 'close');
    // An answer that had begun before the drain has promised to keep the connection.
    response.once('close', () => {
      if (draining) request.socket.destroySoon();
    });
  };
  // With `Expect` as without: whoever wants the body says so (`push-proxy.ts`), and a refusal needs no interim answer.
  for (const event of ['request', 'checkContinue', 'checkExpectation']) server.on(event, answer);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const broken = latest.get(socket);
    // A body that is being passed on broke off, or one that will be: its answer would wait for the rest for ever.
    if (broken !== undefined && isFlowing(broken.request)) return void socket.destroy();
    broken?.request.once('resume', () => {
      if (!broken.request.complete && !broken.response.headersSent) socket.destroy();
    });
    const ofBody = broken?.request.complete === false;
    void refuse(error, socket, { turns, clock: parts.clock, ofBody });
  });
  const event = server instanceof TlsServer ? 'secureConnection' : 'connection';
  const lane = new HitLane(server, event, (head, socket, last) => parts.hits.find(head, socket, last));
  const guard = guardConnections(server, parts);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address.host, port: address.port, backlog: 1024 }, resolve);
  });
  const bound = server.address();
  return {
    address: typeof bound === 'object' && bound !== null ? { host: address.host, port: bound.port } : address,
    enforce: guard.enforce,
    drain: () => {
      draining = true;
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
        lane.drain();
      });
    },
    destroy: guard.destroy,
  };
}

/**
 * What is not HTTP gets one short answer and the end; nothing of what was sent is repeated. It stands behind the
 * answers that are due, never in the middle of one. `ofBody`: it is part of a request that has an answer of its own.
 */
async function refuse(
  error: NodeJS.ErrnoException,
  socket: Duplex,
  { turns, clock, ofBody }: { readonly turns: Turns; readonly clock: Clock; readonly ofBody: boolean },
): Promise<void> {
  if (error.code !== 'ECONNRESET') await turns.over(socket);
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  if (ofBody) return await lingerOn(socket, clock, '');
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
  const last = `${head.join('\r\n')}\r\n\r\n${body}`;
  // Who was too slow has nothing on its way that a reset would take the answer along with; who sent too much may have.
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return void socket.end(last, () => socket.destroy());
  await lingerOn(socket, clock, last);
}

/** Ends our side with `last`, and leaves the client the time to read it: it may never end its own. */
async function lingerOn(socket: Duplex, clock: Clock, last: string): Promise<void> {
  socket.end(last);
  await clock.sleep(LINGER);
  socket.destroy();
}

const REFUSALS: Readonly<Record<string, readonly [number, string]>> = {
  HPE_HEADER_OVERFLOW: [431, `the headers are larger than ${MAX_HEADER_BYTES} bytes`],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request did not come to its end in time'],
};
