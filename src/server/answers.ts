import type { ServerResponse } from 'node:http';
import { TooManyRequests, Unauthorized } from '../access/refusals.ts';
import { ERROR_CODES, RegistryError } from '../oci/error-codes.ts';
import type { CacheResult } from '../cache/keeper.ts';
import { MethodUnsupported } from '../registry/actions.ts';
import type { Answer } from '../registry/answer.ts';
import { RangeUnsatisfiable } from '../registry/blobs.ts';
import { sendBlob, type SentBody } from './send-body.ts';

/** RFC 9211: how the cache handled the request. */
const CACHE_STATUS: Readonly<Record<CacheResult, string>> = {
  hit: 'pierhead; hit',
  revalidated: 'pierhead; hit; detail=revalidated',
  stale: 'pierhead; hit; detail=stale',
  miss: 'pierhead; fwd=uri-miss; stored',
  collapsed: 'pierhead; fwd=uri-miss; collapsed',
  bypass: 'pierhead; fwd=uri-miss; detail=not-stored',
};

/** Turns whatever went wrong into the spec's error shape; the one place that does. Causes stay here, for the log. */
export function errorAnswer(error: unknown, head: boolean): Answer {
  const known =
    error instanceof RegistryError ? error : new RegistryError('UNKNOWN', undefined, { cause: error });
  const row: { status: number; message: string; code?: string } = ERROR_CODES[known.code];
  const detail = known.detail === undefined ? {} : { detail: known.detail };
  const body = Buffer.from(
    JSON.stringify({ errors: [{ code: row.code ?? known.code, message: row.message, ...detail }] }),
  );
  const headers: Record<string, string | number | string[]> = {
    'content-type': 'application/json',
    'content-length': body.byteLength,
    ...(known instanceof MethodUnsupported && { allow: known.allow }),
    ...(known instanceof Unauthorized &&
      known.challenges.length > 0 && { 'www-authenticate': [...known.challenges] }),
    ...(known instanceof TooManyRequests && { 'retry-after': known.retryAfterSeconds }),
    ...(known instanceof RangeUnsatisfiable && { 'content-range': `bytes */${known.size}` }),
  };
  return {
    status: row.status,
    headers,
    body: head ? { kind: 'none' } : { kind: 'bytes', content: body },
    error: known.code,
  };
}

/** All that an answer says of itself, but for what HTTP says of the connection. */
export function headersOf({ headers, result }: Answer, requestId: string): Answer['headers'] {
  return {
    'docker-distribution-api-version': 'registry/2.0',
    'x-request-id': requestId,
    'x-content-type-options': 'nosniff',
    ...(result !== undefined && { 'cache-status': CACHE_STATUS[result] }),
    ...headers,
  };
}

/** Writes an answer; resolves when it has ended, one way or the other. Never rejects. */
export async function sendAnswer(
  response: ServerResponse,
  answer: Answer,
  requestId: string,
): Promise<SentBody> {
  response.writeHead(answer.status, { ...headersOf(answer, requestId) });
  const { body } = answer;
  if (body.kind === 'none') {
    response.end();
    return { bytes: 0, broken: undefined };
  }
  if (body.kind === 'bytes') {
    response.end(body.content);
    return { bytes: body.content.byteLength, broken: undefined };
  }
  // On a cold blob the client learns that it is coming before the first byte is there.
  if (answer.result !== 'hit') response.flushHeaders();
  const sent = await sendBlob(response, body.blob, body.first, body.length);
  if (sent.broken === undefined) response.end();
  // FIN, never RST: containerd resumes after the one and fails the pull after the other.
  else response.destroy();
  return sent;
}
