import type { BlobBody } from '../cache/fills/blob-body.ts';
import { Unauthorized } from '../access/refusals.ts';
import type { CacheResult, NotAuthorized } from '../cache/keeper.ts';
import type { ErrorCode } from '../oci/error-codes.ts';

/** What goes back to a client. `server/` writes it; nothing here knows a socket. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number | string[]>>;
  readonly body: AnswerBody;
  /** Absent where the cache had no part. */
  readonly result?: CacheResult;
  /** Of an answer that is an error. */
  readonly error?: ErrorCode;
}

export type AnswerBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'bytes'; readonly content: Uint8Array }
  /** `length` bytes of `blob` from `first`. Whoever writes it closes the blob. */
  | { readonly kind: 'blob'; readonly blob: BlobBody; readonly first: number; readonly length: number };

/** What a handler may see of a request, besides what its route says. */
export interface RequestFacts {
  readonly head: boolean;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly ifNoneMatch: string | undefined;
}

export const NO_BODY: AnswerBody = { kind: 'none' };

/** What the caller shows was good when they were judged, and is no longer. */
export function notAuthorized({ challenges }: NotAuthorized): Unauthorized {
  return new Unauthorized('the upstream registry wants to know who you are', challenges);
}

export function jsonAnswer(content: unknown, head: boolean): Answer {
  const body = Buffer.from(JSON.stringify(content));
  return {
    status: 200,
    headers: { 'content-type': 'application/json', 'content-length': body.byteLength },
    body: head ? NO_BODY : { kind: 'bytes', content: body },
  };
}

/** RFC 9110 §13.1.2: the tags are compared weakly; content that is named by its digest has no weak twin. */
export function matchesTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
}
