import type { Milliseconds } from '../../lib/brand.ts';
import { readBody } from '../../lib/read-body.ts';
import { ListError } from '../../oci/page.ts';
import type { RepositoryName } from '../../oci/repository-name.ts';
import { UpstreamError, type Upstream, type UpstreamResponse } from '../../upstream/upstream.ts';
import type { Limited, ListingAnswer, NotAuthorized, Unavailable, Unknown } from '../keeper.ts';
import { reasonFor } from '../reason-for.ts';
import type { AskedAs } from '../verdicts/asked-as.ts';
import type { KeptPage } from './list-cache.ts';

/** What the upstream said on a page. */
export type Asked =
  | { readonly kind: 'page'; readonly page: KeptPage }
  | NotAuthorized
  | Unknown
  | Unavailable
  | Limited
  | Extract<ListingAnswer, { kind: 'invalid' }>;

/** One page of a list: where it can come from. */
export interface PagedList {
  /** Which list it is, for the log; begins the keys of all its pages. */
  readonly prefix: string;
  /** Of this page. */
  readonly key: string;
  /** What the cache has of it, from this page or from one that it is a part of. */
  kept(maxAge: Milliseconds): KeptPage | undefined;
  /** Asks the upstream and keeps what it says. */
  ask(): Promise<Asked>;
  /** The upstream says that there is none. */
  drop(): void;
  /** What else is known here when the upstream cannot be asked and nothing of it was kept. */
  known(): Promise<KeptPage | undefined>;
}

export interface ListRequest {
  readonly repository: RepositoryName | undefined;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly accept: string;
  readonly as: AskedAs;
  readonly maxBytes: number;
  readonly received: (bytes: number) => void;
}

export interface ListBody {
  readonly headers: UpstreamResponse['headers'];
  readonly content: Uint8Array;
}

/** The upstream's 200, its body read to the bound and not further; a number is another status. */
export async function askForList(
  upstream: Upstream,
  request: ListRequest,
): Promise<ListBody | NotAuthorized | number> {
  const { repository, path, query, accept, as, maxBytes } = request;
  const text = query.toString();
  const response = await upstream.ask({
    method: 'GET',
    repository,
    path: text === '' ? path : `${path}?${text}`,
    headers: { accept },
    showing: as.showing,
  });
  const { status, challenges } = response;
  if (status !== 200) {
    response.body.destroy();
    return challenges === undefined ? status : { kind: 'unauthorized', challenges };
  }
  const content = await readBody(response.body, maxBytes);
  if (content === undefined)
    throw new ListError(`the upstream sent a list of over ${maxBytes} bytes; ask for it in pages, with n`);
  request.received(content.byteLength);
  return { headers: response.headers, content };
}

/** Whatever went wrong, as an answer. */
export function refusalOf(error: unknown): Asked {
  if (error instanceof ListError) return { kind: 'invalid', reason: error.message };
  if (error instanceof UpstreamError) return { kind: 'unavailable', reason: reasonFor(error) };
  return { kind: 'unavailable', reason: 'the upstream broke off the list' };
}
