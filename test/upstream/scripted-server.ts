import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createSocketServer, type AddressInfo, type Socket } from 'node:net';
import type { Test } from 'tap';

export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
}

export type Script = (request: IncomingMessage, response: ServerResponse, asked: number) => void;

export interface ScriptedServer {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Every request that arrived, in order. */
  readonly asked: Asked[];
  /** How many arrived whose path begins like this. */
  count(prefix: string): number;
}

export interface ServerOptions {
  readonly address?: string;
  readonly tls?: { readonly key: string; readonly cert: string };
  /** The host in the server's URL, when it is not its address. */
  readonly name?: string;
}

/** A server on the loopback interface that answers as the script says and remembers what it was asked. */
export async function serve(t: Test, script: Script, options: ServerOptions = {}): Promise<ScriptedServer> {
  const { address = '127.0.0.1', tls, name = address } = options;
  const asked: Asked[] = [];
  const listener: RequestListener = (request, response) => {
    asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers });
    script(request, response, asked.length);
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  t.teardown(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  const host = `${name}:${port}`;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${host}`,
    host,
    port,
    asked,
    count: (prefix) => asked.filter(({ url }) => url.startsWith(prefix)).length,
  };
}

export function reply(
  response: ServerResponse,
  status: number,
  headers: Record<string, string | string[]> = {},
  body = '',
): void {
  response.writeHead(status, headers);
  response.end(body);
}

/** A port on which nobody listens. */
export async function deadUrl(address = '127.0.0.1'): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://${address}:${port}`;
}

/** A server below HTTP: answers each request (each chunk that arrives) as told. */
export async function rawServe(t: Test, answer: (socket: Socket, request: number) => void): Promise<string> {
  const sockets = new Set<Socket>();
  let requests = 0;
  const server = createSocketServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', () => answer(socket, (requests += 1)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
