import type { EdgeCache } from '../cache/edge-cache.ts';
import type { Limited, NotAuthorized, Unavailable, Unknown } from '../cache/keeper.ts';
import { MemoryBody } from '../cache/fills/blob-body.ts';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import { parseRange, resolveRange, type RangeRequest } from '../oci/range.ts';
import { limited } from './limited.ts';
import { matchesTag, NO_BODY, notAuthorized, type Answer, type RequestFacts } from './answer.ts';

/**
 * `GET` and `HEAD /v2/<name>/blobs/<digest>`. What cannot be had is 404 BLOB_UNKNOWN, also when the upstream is away:
 * docker repeats a 5xx for 75 seconds before it goes on to its next endpoint.
 */
export async function answerBlob(
  cache: EdgeCache,
  repository: GrantedRepository,
  digest: Digest,
  facts: RequestFacts,
): Promise<Answer> {
  const etag = `"${digest}"`;
  const range = wantedRange(facts, etag);
  if (facts.head) return await answerHead(cache, repository, digest, facts, etag);
  const found = await cache.blob(repository, digest);
  if (found.kind !== 'blob') throw absent(found);
  const { body, result } = found;
  if (matchesTag(facts.ifNoneMatch, etag)) {
    await body.close();
    return { status: 304, headers: { etag, 'docker-content-digest': digest }, body: NO_BODY, result };
  }
  const part = resolveRange(range, body.size);
  if (part.kind === 'unsatisfiable') {
    await body.close();
    throw new RangeUnsatisfiable(body.size);
  }
  const [first, last] = part.kind === 'part' ? [part.first, part.last] : [0, body.size - 1];
  const length = last - first + 1;
  const small = body instanceof MemoryBody ? body.content.subarray(first, last + 1) : undefined;
  const headers = {
    ...blobHeaders(digest, length),
    ...(part.kind === 'part' && { 'content-range': `bytes ${first}-${last}/${body.size}` }),
  };
  return {
    status: part.kind === 'part' ? 206 : 200,
    headers,
    body:
      small === undefined ? { kind: 'blob', blob: body, first, length } : { kind: 'bytes', content: small },
    result,
  };
}

/** Of a whole blob that is in memory. */
export function blobAnswer(
  digest: Digest,
  content: Uint8Array,
  { head, ifNoneMatch }: Pick<RequestFacts, 'head' | 'ifNoneMatch'>,
): Answer {
  const etag = `"${digest}"`;
  if (matchesTag(ifNoneMatch, etag))
    return { status: 304, headers: { etag, 'docker-content-digest': digest }, body: NO_BODY, result: 'hit' };
  const headers = blobHeaders(digest, content.byteLength);
  return { status: 200, headers, body: head ? NO_BODY : { kind: 'bytes', content }, result: 'hit' };
}

/** 416, with the size that the client needs to ask again (RFC 9110 §15.5.17). */
export class RangeUnsatisfiable extends RegistryError {
  readonly size: number;

  constructor(size: number) {
    super('RANGE_UNSATISFIABLE', `the blob has ${size} bytes`);
    this.size = size;
  }
}

async function answerHead(
  cache: EdgeCache,
  repository: GrantedRepository,
  digest: Digest,
  facts: RequestFacts,
  etag: string,
): Promise<Answer> {
  const found = await cache.blobSize(repository, digest);
  if (found.kind !== 'size') throw absent(found);
  const result = found.stored ? 'hit' : 'miss';
  if (matchesTag(facts.ifNoneMatch, etag)) {
    return { status: 304, headers: { etag, 'docker-content-digest': digest }, body: NO_BODY, result };
  }
  return { status: 200, headers: blobHeaders(digest, found.size), body: NO_BODY, result };
}

/** A range under a condition that does not hold is no range at all (RFC 9110 §13.1.5); `HEAD` has none. */
function wantedRange(facts: RequestFacts, etag: string): RangeRequest {
  const range = parseRange(facts.range);
  if (range === undefined) {
    throw new RegistryError('SIZE_INVALID', 'the Range header is not of the form bytes=first-last');
  }
  const conditionHolds = facts.ifRange === undefined || facts.ifRange === etag;
  return conditionHolds ? range : { kind: 'whole' };
}

function absent(found: NotAuthorized | Unknown | Unavailable | Limited): RegistryError {
  if (found.kind === 'limited') return limited(found);
  if (found.kind === 'unauthorized') return notAuthorized(found);
  return new RegistryError('BLOB_UNKNOWN', found.kind === 'unavailable' ? found.reason : undefined);
}

function blobHeaders(digest: Digest, length: number): Record<string, string | number> {
  return {
    'content-type': 'application/octet-stream',
    'content-length': length,
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    etag: `"${digest}"`,
    'cache-control': 'max-age=31536000, immutable',
  };
}
