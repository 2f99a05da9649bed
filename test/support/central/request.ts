import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';

export type RequestKind = 'ping' | 'blob' | 'manifest' | 'tags' | 'referrers' | 'catalog' | 'token' | 'other';

/** One request as the central saw it; the fields about the answer fill as it goes. */
export interface CentralRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly kind: RequestKind;
  readonly repository: string | undefined;
  /** What stands after `/blobs/`, `/manifests/` or `/referrers/`: a digest or a tag. */
  readonly reference: string | undefined;
  readonly headers: IncomingHttpHeaders;
  /** On the scale of `performance.now()`. */
  readonly atMs: number;
  /** 0 until the answer begins. */
  status: number;
  /** Of the answer's body, handed to the socket. */
  bodyBytes: number;
  /** The answer was given to its end, as the central meant it. */
  done: boolean;
}

const KINDS = { blobs: 'blob', manifests: 'manifest', referrers: 'referrers' } as const;
const PATH = /^\/v2\/(.+)\/(blobs|manifests|referrers)\/([^/]+)$/;
const TAGS = /^\/v2\/(.+)\/tags\/list$/;

export function readRequest(message: IncomingMessage): CentralRequest {
  const { method = 'GET', url = '/', headers } = message;
  const { pathname: path, searchParams: query } = new URL(url, 'http://central');
  return {
    method,
    url,
    path,
    query,
    ...route(path),
    headers,
    atMs: performance.now(),
    status: 0,
    bodyBytes: 0,
    done: false,
  };
}

function route(path: string): Pick<CentralRequest, 'kind' | 'repository' | 'reference'> {
  const none = { repository: undefined, reference: undefined };
  if (path === '/v2/' || path === '/v2') return { kind: 'ping', ...none };
  if (path === '/v2/_catalog') return { kind: 'catalog', ...none };
  if (path === '/token') return { kind: 'token', ...none };
  const [, repository, kind, reference] = PATH.exec(path) ?? [];
  if (kind !== undefined) return { kind: KINDS[kind as keyof typeof KINDS], repository, reference };
  const [, listed] = TAGS.exec(path) ?? [];
  return listed === undefined
    ? { kind: 'other', ...none }
    : { kind: 'tags', repository: listed, reference: undefined };
}
