import { createServer, STATUS_CODES, type Server, type ServerOptions } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TlsOptions } from 'node:tls';
import type { IpRules } from '../access/ip-rules.ts';
import { guardConnections } from './connection-guard.ts';
import type { Pipeline } from './pipeline.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ListenerParts {
  readonly pipeline: Pipeline;
  readonly rules: IpRules;
  readonly refused: () => void;
}

const HTTP_OPTIONS: ServerOptions = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  // The body of a pull is empty: a request that is not whole by then never will be.
  requestTimeout: 15_000,
  connectionsCheckingInterval: 1000,
  // BuildKit keeps idle connections for 120 s and must not find them closed under a request.
  keepAliveTimeout: 125_000,
  noDelay: true,
};
const MAX_REQUESTS_PER_SOCKET = 1000;
const MAX_CONNECTIONS = 4096;

/** A port that is served. */
export interface Listener {
  readonly address: Address;
  /** New TLS options for new connections: all of them, since what is not given again is forgotten. TLS only. */
  readonly renew?: (tls: TlsOptions) => void;
  /** Takes no more connections and ends the idle ones; resolves when the last is gone. */
  drain(): Promise<void>;
  /** Ends what is still there, with FIN. */
  destroy(): void;
}

/** @throws the socket's error (EADDRINUSE, EACCES, …) when the address cannot be had. */
export function listenPlain(address: Address, parts: ListenerParts): Promise<Listener> {
  return listen(createServer(HTTP_OPTIONS), address, parts);
}

export async function listenSecure(
  address: Address,
  tls: TlsOptions,
  parts: ListenerParts,
): Promise<Listener> {
  const server = createSecureServer({ ...HTTP_OPTIONS, ...tls });
  const listener = await listen(server, address, parts);
  return { ...listener, renew: (renewed) => server.setSecureContext(renewed) };
}

async function listen(
  server: Server | SecureServer,
  address: Address,
  parts: ListenerParts,
): Promise<Listener> {
  let draining = false;
  server.maxRequestsPerSocket = MAX_REQUESTS_PER_SOCKET;
  server.maxConnections = MAX_CONNECTIONS;
  // Node drops headers over its count without a word; ours are counted and refused instead.
  server.maxHeadersCount = 0;
  server.on('request', (request, response) => {
    if (draining) response.setHeader('connection', 'close');
    void parts.pipeline.handle(request, response);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuseRaw(error, socket));
  guardConnections(server, parts.rules, parts.refused);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address.host, port: address.port, backlog: 1024 }, resolve);
  });
  const bound = server.address();
  return {
    address: typeof bound === 'object' && bound !== null ? { host: address.host, port: bound.port } : address,
    drain: () => {
      draining = true;
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      });
    },
    destroy: () => server.closeAllConnections(),
  };
}

/** What is not HTTP gets one short answer and the end; nothing of what was sent is repeated. */
function refuseRaw(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
  const body = JSON.stringify({ errors: [{ code: 'UNSUPPORTED', message: STATUS_CODES[status] }] });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  );
}
