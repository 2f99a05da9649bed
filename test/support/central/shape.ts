import { gzipSync } from 'node:zlib';
import { parseRange, resolveRange } from '../../../src/oci/range.ts';
import { BlobFixture } from '../images/blob.ts';
import type { Fault } from './fault.ts';
import type { CentralRequest } from './request.ts';

/** A point in the body at which something other than more body happens; before the headers when it is `undefined`. */
interface Turn {
  readonly afterBytes: number | undefined;
}

/** An answer before it is sent: the truth first, then what the faults make of it. */
export interface Shape {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly content: BlobFixture | undefined;
  /** The bytes of the content that are sent: from `start` up to, not including, `end`. */
  readonly start: number;
  readonly end: number;
  readonly ranged: boolean;
  readonly chunked: boolean;
  /** Bytes that follow the content. */
  readonly extraBytes: number;
  /** An offset in the content. */
  readonly corruptAt: number | undefined;
  readonly bytesPerSecond: number | undefined;
  readonly cut: (Turn & { readonly by: 'fin' | 'rst' }) | undefined;
  readonly stall: (Turn & { readonly until: Promise<unknown> | undefined }) | undefined;
}

export function shapeOf(
  status: number,
  content: BlobFixture | undefined,
  headers: Shape['headers'] = {},
): Shape {
  return {
    status,
    headers: { 'docker-distribution-api-version': 'registry/2.0', ...headers },
    content,
    start: 0,
    end: content?.size ?? 0,
    ranged: false,
    chunked: false,
    extraBytes: 0,
    corruptAt: undefined,
    bytesPerSecond: undefined,
    cut: undefined,
    stall: undefined,
  };
}

export function jsonShape(status: number, value: unknown, headers: Shape['headers'] = {}): Shape {
  const content = BlobFixture.of(Buffer.from(JSON.stringify(value)), 'application/json');
  return shapeOf(status, content, { 'content-type': content.mediaType, ...headers });
}

export function errorShape(status: number, code: string, headers: Shape['headers'] = {}): Shape {
  return jsonShape(status, { errors: [{ code, message: `central says ${code}`, detail: null }] }, headers);
}

/** An answer with content under a digest: `Range`, `If-Range` and `If-None-Match` are honoured (RFC 9110 §13, §14). */
export function contentShape(request: CentralRequest, content: BlobFixture, ranges: boolean): Shape {
  const etag = `"${content.digest}"`;
  const shape = shapeOf(200, content, {
    'content-type': content.mediaType,
    'docker-content-digest': content.digest,
    etag,
    ...(ranges ? { 'accept-ranges': 'bytes' } : {}),
  });
  if (request.headers['if-none-match'] === etag) return shapeOf(304, undefined, { etag });
  const ifRange = request.headers['if-range'] ?? etag;
  return { ...shape, ranged: ranges && ifRange === etag };
}

export function applyFault(shape: Shape, fault: Fault, request: CentralRequest): Shape {
  const { content } = shape;
  switch (fault.kind) {
    case 'status': {
      const { status, headers = {}, body } = fault;
      const given = headers as Shape['headers'];
      if (body === undefined)
        return errorShape(status, status === 429 ? 'TOOMANYREQUESTS' : 'UNKNOWN', given);
      return shapeOf(status, BlobFixture.of(Buffer.from(body)), { 'content-type': 'text/plain', ...given });
    }
    case 'cut':
      return { ...shape, cut: { afterBytes: fault.afterBytes, by: fault.by ?? 'fin' } };
    case 'stall':
      return { ...shape, stall: { afterBytes: fault.afterBytes, until: fault.until } };
    case 'drip':
      return { ...shape, bytesPerSecond: fault.bytesPerSecond };
    case 'corrupt':
      return { ...shape, corruptAt: fault.offset };
    case 'short':
      return { ...shape, end: Math.max(shape.start, shape.end - fault.bytes) };
    case 'long':
      return { ...shape, extraBytes: fault.bytes };
    case 'wrongDigestHeader':
      return { ...shape, headers: { ...shape.headers, 'docker-content-digest': fault.digest } };
    case 'swap':
      return swapped(shape, BlobFixture.of(fault.content, fault.mediaType ?? content?.mediaType));
    case 'ignoreRange':
      return { ...shape, ranged: false };
    case 'chunked':
      return { ...shape, chunked: true };
    case 'gzip': {
      if (content === undefined) return shape;
      const encoded = swapped(shape, BlobFixture.of(gzipSync(content.bytes), content.mediaType));
      return { ...encoded, ranged: false, headers: { ...encoded.headers, 'content-encoding': 'gzip' } };
    }
    case 'redirect': {
      const location = typeof fault.to === 'string' ? new URL(request.url, fault.to).href : fault.to(request);
      return shapeOf(fault.status ?? 307, undefined, { location });
    }
    case 'headers':
      return { ...shape, headers: { ...shape.headers, ...fault.headers } };
  }
}

/** Cuts the body down to what `Range` asks for. */
export function applyRange(shape: Shape, header: string | undefined): Shape {
  if (!shape.ranged || header === undefined) return shape;
  const total = shape.end;
  const range = parseRange(header);
  const resolved = range === undefined ? { kind: 'unsatisfiable' as const } : resolveRange(range, total);
  switch (resolved.kind) {
    case 'whole':
      return shape;
    case 'unsatisfiable':
      return errorShape(416, 'RANGE_INVALID', { 'content-range': `bytes */${total}` });
    case 'part': {
      const { first, last } = resolved;
      const headers = { ...shape.headers, 'content-range': `bytes ${first}-${last}/${total}` };
      return { ...shape, status: 206, start: first, end: last + 1, headers };
    }
  }
}

function swapped(shape: Shape, content: BlobFixture): Shape {
  const headers = { ...shape.headers, 'content-type': content.mediaType };
  return { ...shape, content, start: 0, end: content.size, headers };
}
