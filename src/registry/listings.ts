import type { EdgeCache } from '../cache/edge-cache.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import type { RepositoryName } from '../oci/repository-name.ts';
import { NO_BODY, type Answer } from './answer.ts';
import type { Route } from './route.ts';

type ListingRoute = Extract<Route, { kind: 'tags' | 'referrers' }>;

/** The parameters of the distribution spec; all others stay here. */
const TAGS_PARAMETERS = ['n', 'last'];
const REFERRERS_PARAMETERS = ['artifactType'];

/** `GET /v2/<name>/tags/list` and `/referrers/<digest>`: the upstream's list, its `Link` turned to this edge. */
export async function answerListing(
  cache: EdgeCache,
  repository: GrantedRepository,
  route: ListingRoute,
  head: boolean,
): Promise<Answer> {
  const tags = route.kind === 'tags';
  const path = tags ? 'tags/list' : `referrers/${route.digest}`;
  const query = kept(route.query, tags ? TAGS_PARAMETERS : REFERRERS_PARAMETERS);
  const answer = await cache.listing(repository, query === '' ? path : `${path}?${query}`);
  if (answer.kind === 'unknown') throw new RegistryError('NAME_UNKNOWN');
  if (answer.kind === 'unavailable') throw new RegistryError('UNAVAILABLE', answer.reason);
  const headers: Record<string, string | number> = {
    'content-type': answer.mediaType,
    'content-length': answer.content.byteLength,
  };
  if (answer.nextQuery !== undefined)
    headers['link'] = nextLink(route.name, path, answer.nextQuery, route.query);
  if (answer.filters !== undefined) headers['oci-filters-applied'] = answer.filters;
  return { status: 200, headers, body: head ? NO_BODY : { kind: 'bytes', content: answer.content } };
}

/** The name as the client wrote it, so that the next page takes the same way. */
function nextLink(name: RepositoryName, path: string, nextQuery: string, query: URLSearchParams): string {
  const next = new URLSearchParams(nextQuery);
  const namespace = query.get('ns');
  if (namespace !== null) next.set('ns', namespace);
  return `</v2/${name}/${path}?${next.toString()}>; rel="next"`;
}

function kept(query: URLSearchParams, parameters: readonly string[]): string {
  const result = new URLSearchParams();
  for (const parameter of parameters) {
    const value = query.get(parameter);
    if (value !== null) result.set(parameter, value);
  }
  return result.toString();
}
