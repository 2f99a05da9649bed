import type { EdgeCache } from '../cache/edge-cache.ts';
import type { ListingAnswer } from '../cache/keeper.ts';
import { RegistryError, type ErrorCode } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import { pageQuery, type Page } from '../oci/page.ts';
import { REFERRERS_MEDIA_TYPE } from '../oci/referrers.ts';
import { NO_BODY, notAuthorized, type Answer } from './answer.ts';
import { limited } from './limited.ts';
import type { Route } from './route.ts';

/** The request, as far as a `Link` to its next page repeats it. */
export interface ListRequestFacts {
  readonly head: boolean;
  /** containerd's `?ns=`. */
  readonly namespace: string | undefined;
}

/** `GET /v2/<name>/tags/list`. The name is the client's own for it, and so is the next page's: both take the same way. */
export async function answerTags(
  cache: EdgeCache,
  repository: GrantedRepository,
  route: Extract<Route, { kind: 'tags' }>,
  facts: ListRequestFacts,
): Promise<Answer> {
  const { entries, next, result } = listingOf(await cache.tags(repository, route.page), 'NAME_UNKNOWN');
  const headers = next && { link: nextLink(`/v2/${route.name}/tags/list`, next, facts) };
  return listAnswer('application/json', [`{"name":${JSON.stringify(route.name)},"tags":`, entries, '}'], {
    headers,
    result,
    facts,
  });
}

type ReferrersRoute = Extract<Route, { kind: 'referrers' }>;

export interface ReferrersFacts extends ListRequestFacts {
  /** Clients push to this upstream through this edge, so they have to learn where it keeps no referrers. */
  readonly pushed: boolean;
}

/**
 * `GET /v2/<name>/referrers/<digest>`. Without a filter of its own the upstream's list is filtered here, so what the
 * header claims always holds. Unknown is never `NAME_UNKNOWN`: oras would take the whole repository for absent.
 */
export async function answerReferrers(
  cache: EdgeCache,
  repository: GrantedRepository,
  route: ReferrersRoute,
  facts: ReferrersFacts,
): Promise<Answer> {
  const { digest, artifactType, page } = route;
  const found = await cache.referrers(repository, digest, artifactType, page);
  if (found.kind === 'unknown' && !facts.pushed) return noReferrers(route, facts);
  const { entries, next, result } = listingOf(found, 'MANIFEST_UNKNOWN');
  if (entries.byteLength === NO_ENTRIES.length && next === undefined) return noReferrers(route, facts);
  return referrersAnswer(route, { entries, next, result }, facts);
}

/** The same whether the cache knew, the upstream said so, or the caller is not to know: so without a `Cache-Status`. */
export function noReferrers(route: ReferrersRoute, facts: ListRequestFacts): Answer {
  return referrersAnswer(route, { entries: NO_ENTRIES, next: undefined, result: undefined }, facts);
}

const NO_ENTRIES = '[]';

function referrersAnswer(
  { name, digest, artifactType }: ReferrersRoute,
  {
    entries,
    next,
    result,
  }: {
    readonly entries: string | Uint8Array;
    readonly next: Page | undefined;
    readonly result: Answer['result'];
  },
  facts: ListRequestFacts,
): Answer {
  const own = artifactType === undefined ? {} : { artifactType };
  const headers = {
    ...(artifactType !== undefined && { 'oci-filters-applied': 'artifactType' }),
    ...(next && { link: nextLink(`/v2/${name}/referrers/${digest}`, next, facts, own) }),
  };
  return listAnswer(
    REFERRERS_MEDIA_TYPE,
    [`{"schemaVersion":2,"mediaType":"${REFERRERS_MEDIA_TYPE}","manifests":`, entries, '}'],
    { headers, result, facts },
  );
}

/** @throws {RegistryError} there is no list. */
export function listingOf(
  answer: ListingAnswer,
  unknown: ErrorCode,
): Extract<ListingAnswer, { kind: 'listing' }> {
  switch (answer.kind) {
    case 'unauthorized':
      throw notAuthorized(answer);
    case 'unknown':
      throw new RegistryError(unknown);
    case 'unavailable':
      throw new RegistryError('UNAVAILABLE', answer.reason);
    case 'limited':
      throw limited(answer);
    case 'invalid':
      throw new RegistryError('BAD_UPSTREAM', answer.reason);
    case 'listing':
      return answer;
  }
}

export function listAnswer(
  mediaType: string,
  parts: readonly (string | Uint8Array)[],
  { headers = {}, result, facts }: ListAnswerOptions,
): Answer {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return {
    status: 200,
    headers: { 'content-type': mediaType, 'content-length': content.byteLength, ...headers },
    body: facts.head ? NO_BODY : { kind: 'bytes', content },
    ...(result !== undefined && { result }),
  };
}

interface ListAnswerOptions {
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly result: Answer['result'];
  readonly facts: ListRequestFacts;
}

/** Always a path of this edge (RFC 8288 lets it be relative), with nothing in it but parsed parts. */
export function nextLink(
  path: string,
  next: Page,
  { namespace }: ListRequestFacts,
  own: Readonly<Record<string, string>> = {},
): string {
  const query = pageQuery(next);
  for (const [name, value] of Object.entries(own)) query.set(name, value);
  if (namespace !== undefined) query.set('ns', namespace);
  return `<${path}?${query.toString()}>; rel="next"`;
}
