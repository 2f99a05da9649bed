import type { EdgeCache } from '../cache/edge-cache.ts';
import { RegistryError } from '../oci/error-codes.ts';
import { FIRST_PAGE, type Page } from '../oci/page.ts';
import { parseRepositoryName } from '../oci/repository-name.ts';
import type { Answer } from './answer.ts';
import { listAnswer, listingOf, nextLink, type ListRequestFacts } from './listings.ts';
import { namedUpstream, type UpstreamNames } from './select-upstream.ts';
import type { VisibleCatalogs, Visibility } from './visible-catalog.ts';

const MAX_NAMES = 1000;

export interface CatalogRequest extends ListRequestFacts {
  readonly page: Page;
  /** The request's `Host` header. */
  readonly host: string | undefined;
  /** Undefined: all of it. */
  readonly visible: Visibility | undefined;
}

/**
 * `GET /v2/_catalog`: the repositories of the upstreams that are open to it, as this edge names them. One upstream
 * after the other, the default one first; a page is one page of one upstream, so it may well be shorter than `n`.
 * @throws {RegistryError} DENIED when no upstream is open to it.
 */
export async function answerCatalog(
  cache: EdgeCache,
  upstreams: readonly UpstreamNames[],
  request: CatalogRequest,
  catalogs: VisibleCatalogs,
): Promise<Answer> {
  const named = namedUpstream(upstreams, request);
  const open = (named === undefined ? inOrder(upstreams) : [named]).filter(({ catalog }) => catalog);
  const prefixOf = ({ name, default: isDefault }: UpstreamNames): string =>
    named !== undefined || isDefault ? '' : `${name}/`;
  if (request.visible !== undefined && open.length > 0)
    return await answerVisible(catalogs, open, prefixOf, { ...request, visible: request.visible });
  const at = standing(open, prefixOf, request.page.last);
  if (at === undefined) throw new RegistryError('DENIED', 'the catalog is not shown by this edge');

  const prefix = prefixOf(at.upstream);
  const { cursor, n = MAX_NAMES } = request.page;
  const page = { n: Math.min(n, MAX_NAMES), last: at.last, cursor };
  const { entries, next, result } = listingOf(await cache.catalog(at.upstream.name, page), 'NAME_UNKNOWN');
  // A name that is too long behind its prefix, or a prefix that no path can have, could not be asked for.
  const listed = (JSON.parse(Buffer.from(entries).toString()) as string[]).flatMap((text) => {
    const [name, named] = [parseRepositoryName(text), parseRepositoryName(prefix + text)];
    return name === undefined || named === undefined ? [] : [named];
  });
  const following = open[open.indexOf(at.upstream) + 1];
  const nextPage =
    n === 0
      ? undefined
      : next !== undefined
        ? { ...next, last: prefix + (next.last ?? '') || undefined }
        : following && { ...FIRST_PAGE, n: request.page.n, last: prefixOf(following) };
  const headers = nextPage && { link: nextLink('/v2/_catalog', nextPage, request) };
  return listAnswer('application/json', ['{"repositories":', JSON.stringify(listed), '}'], {
    headers,
    result,
    facts: request,
  });
}

/** For a caller who may not see all of it. */
async function answerVisible(
  catalogs: VisibleCatalogs,
  open: readonly UpstreamNames[],
  prefixOf: (upstream: UpstreamNames) => string,
  request: CatalogRequest & { readonly visible: Visibility },
): Promise<Answer> {
  const seen = open.filter(({ name }) => request.visible.upstream(name));
  const { n, last } = request.page;
  const at = standing(seen, prefixOf, last);
  const parts = (at === undefined ? [] : seen.slice(seen.indexOf(at.upstream))).map((upstream) => ({
    upstream: upstream.name,
    prefix: prefixOf(upstream),
    last: upstream === at?.upstream ? at.last : undefined,
  }));
  const { names, next, result } = await catalogs.page(
    parts,
    Math.min(n ?? MAX_NAMES, MAX_NAMES),
    request.visible,
  );
  const headers = next && { link: nextLink('/v2/_catalog', { ...FIRST_PAGE, n, last: next }, request) };
  return listAnswer('application/json', ['{"repositories":', JSON.stringify(names), '}'], {
    headers: headers || undefined,
    result,
    facts: request,
  });
}

/** The default upstream's repositories have no prefix, so they stand for the beginning. */
function inOrder(upstreams: readonly UpstreamNames[]): UpstreamNames[] {
  return [...upstreams].sort((a, b) => Number(b.default) - Number(a.default));
}

/** Where `last` stands: `ghcr.io/org/app` in the upstream of that name, `ghcr.io/` before its first repository. */
function standing(
  open: readonly UpstreamNames[],
  prefixOf: (upstream: UpstreamNames) => string,
  last: string | undefined,
): { upstream: UpstreamNames; last: string | undefined } | undefined {
  const [first] = open;
  if (first === undefined) return undefined;
  for (const upstream of open) {
    const prefix = prefixOf(upstream);
    if (prefix !== '' && last?.startsWith(prefix) === true)
      return { upstream, last: last.slice(prefix.length) || undefined };
  }
  return { upstream: first, last: prefixOf(first) === '' ? last : undefined };
}
