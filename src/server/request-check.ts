import type { IncomingMessage } from 'node:http';
import { RegistryError } from '../oci/error-codes.ts';

const MAX_HEADERS = 100;
/** Twice one of these is a way to be read differently by two parsers. */
const ONCE = new Set(['host', 'authorization', 'content-length', 'transfer-encoding', 'range']);

/** A request that Node's parser let through and that is refused all the same. */
export class MalformedRequest extends RegistryError {
  readonly status: 400 | 431;

  constructor(status: 400 | 431, detail: string) {
    super('UNSUPPORTED', detail);
    this.status = status;
  }
}

/** @throws {MalformedRequest | RegistryError} for what no registry client sends. */
export function checkRequest(request: IncomingMessage): void {
  const { rawHeaders, method, httpVersion, url = '' } = request;
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
  if (!url.startsWith('/')) throw new MalformedRequest(400, 'the request target must be a path');
  const pull = method === 'GET' || method === 'HEAD';
  const hasBody = seen.has('transfer-encoding') || Number(request.headers['content-length'] ?? 0) > 0;
  if (pull && hasBody) throw new MalformedRequest(400, `a ${method} carries no body`);
}
