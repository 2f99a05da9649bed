import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * On every answer. No page is served here, so that a browser that is made to show an answer may do nothing with it: load
 * nothing, run nothing, be framed by nobody, keep nothing, and tell no other site where it has been.
 */
const STRICT_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const;

export function setStrictHeaders(response: ServerResponse): void {
  for (const [name, value] of Object.entries(STRICT_HEADERS)) response.setHeader(name, value);
}

export function sendJson(response: ServerResponse, status: number, content: unknown): void {
  send(response, status, 'application/json', JSON.stringify(content));
}

export function sendLine(response: ServerResponse, status: number, text: string): void {
  send(response, status, 'text/plain; charset=utf-8', `${text}\n`);
}

export function send(response: ServerResponse, status: number, contentType: string, text: string): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** For what is not HTTP, or not in time: nothing of what was sent is repeated. */
export function refuseConnection({ code }: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status = UNREADABLE[code ?? ''] ?? 400;
  const headers = { ...STRICT_HEADERS, 'content-length': 0, connection: 'close' };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n`);
}

const UNREADABLE: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};
