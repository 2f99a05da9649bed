import type { IncomingMessage } from 'node:http';
import { RegistryError } from '../oci/error-codes.ts';

const MAX_HEADERS = 100;
/** Twice one of these is a way to be read differently by two parsers. */
const ONCE = new Set(['host', 'authorization', 'content-length', 'transfer-encoding', 'range']);

/** A name or an address, and a port (RFC 9112 §3.2); what its characters mean is for whoever looks the name up. */
export const HOST_FORM = /^[\w.:[\]-]{1,300}$/;

/** A request that Node's parser let through and that is refused all the same. */
export class MalformedRequest extends RegistryError {
  readonly status: 400 | 408 | 431;

  constructor(status: 400 | 408 | 431, detail: string) {
    super('UNSUPPORTED', detail);
    this.status = status;
  }
}

/** @throws {MalformedRequest | RegistryError} for what no registry client sends. */
export function checkRequest(request: IncomingMessage): void {
  const { rawHeaders, headers, method, httpVersion, url = '' } = request;
  if (httpVersion !== '1.1' && httpVersion !== '1.0')
    throw new MalformedRequest(400, 'only HTTP/1.1 is spoken here');
  if (rawHeaders.length / 2 > MAX_HEADERS)
    throw new MalformedRequest(431, `more than ${MAX_HEADERS} headers`);
  const seen = new Set<string>();
  for (let position = 0; position < rawHeaders.length; position += 2) {
    const name = rawHeaders[position]?.toLowerCase() ?? '';
    if (ONCE.has(name) && seen.has(name)) throw new MalformedRequest(400, `${name} is given more than once`);
    seen.add(name);
  }
  if (httpVersion === '1.1' && !seen.has('host'))
    throw new MalformedRequest(400, 'the Host header is missing');
  if (headers.host !== undefined && !HOST_FORM.test(headers.host))
    throw new MalformedRequest(400, 'the Host header is not a host');
  const coding = headers['transfer-encoding'];
  // Node takes a coding in front of `chunked`, and passes the body on without it: the upstream would read other bytes.
  if (coding !== undefined && (coding.toLowerCase() !== 'chunked' || httpVersion === '1.0'))
    throw new MalformedRequest(400, 'of the transfer codings, HTTP/1.1 and chunked alone is understood here');
  if (!url.startsWith('/')) throw new MalformedRequest(400, 'the request target must be a path');
  // Node frames no body for these when it passes a request on: what follows would be read as another request.
  const bodiless = method === 'GET' || method === 'HEAD' || method === 'DELETE';
  if (bodiless && hasBody(request)) throw new MalformedRequest(400, `a ${method} carries no body`);
}

/** Whether a body follows the headers. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
