import { ANSWER_DEADLINE } from '../cache/answer-deadline.ts';
import type { EdgeCache } from '../cache/edge-cache.ts';
import type { CacheResult } from '../cache/keeper.ts';
import type { Clock } from '../lib/clock.ts';
import { within } from '../lib/within.ts';
import { RegistryError } from '../oci/error-codes.ts';
import { FIRST_PAGE, type Page } from '../oci/page.ts';
import { parseRepositoryName, type RepositoryName } from '../oci/repository-name.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import { listingOf } from './listings.ts';

/** What a caller may see of a catalog. */
export interface Visibility {
  /** Whether there can be anything for them. */
  readonly upstream: (name: string) => boolean;
  /** `name` is what they would ask for it by. */
  readonly repository: (repository: RepositoryRef, name: RepositoryName) => boolean;
}

/** One upstream's part of the catalog. */
export interface CatalogPart {
  readonly upstream: string;
  /** In front of its names, as this edge shows them. */
  readonly prefix: string;
  /** Only what comes behind it; the upstream's own name for it. */
  readonly last: string | undefined;
}

export interface VisiblePage {
  readonly names: readonly RepositoryName[];
  /** What `last` is on the next page: a name that the caller sees, or the prefix of an upstream that they see into. */
  readonly next: string | undefined;
  readonly result: CacheResult | undefined;
}

type Listed = Omit<VisiblePage, 'next'>;

const NOTHING: VisiblePage = { names: [], next: undefined, result: undefined };
const PAGE: Page = { ...FIRST_PAGE, n: 1000 };
/** A list that is longer is refused: one that stopped there would look complete. */
const MAX_PAGES = 100;

/**
 * A page of what the caller may see, made of whole lists. The upstreams' own pages would tell by their length, by where they end and
 * by what the next one begins with that there is something else, and with `last` chosen well also what it is called.
 * @throws {RegistryError} when a list cannot be had whole, or not in time.
 */
export async function visiblePage(
  cache: EdgeCache,
  parts: readonly CatalogPart[],
  n: number,
  { visible, clock }: { readonly visible: Visibility; readonly clock: Clock },
): Promise<VisiblePage> {
  if (n === 0) return NOTHING;
  const late = new AbortController();
  const listed = (part: CatalogPart): Promise<Listed> => visibleNames(cache, part, visible, late.signal);
  const page = await within(clock, ANSWER_DEADLINE, pageOf(parts, n, listed));
  late.abort();
  if (page === undefined) throw new RegistryError('UNAVAILABLE', 'the catalog did not come in time');
  return page;
}

async function pageOf(
  parts: readonly CatalogPart[],
  n: number,
  listed: (part: CatalogPart) => Promise<Listed>,
): Promise<VisiblePage> {
  for (const [place, part] of parts.entries()) {
    const { names, result } = await listed(part);
    const page = names.slice(0, n);
    if (page.length < names.length) return { names: page, next: page.at(-1), result };
    if (page.length > 0) return { names: page, next: await nextPart(parts.slice(place + 1), listed), result };
  }
  return NOTHING;
}

/** The prefix of the first that has something to show; also of one that cannot say so now, since it is asked again then. */
async function nextPart(
  parts: readonly CatalogPart[],
  listed: (part: CatalogPart) => Promise<Listed>,
): Promise<string | undefined> {
  for (const part of parts) {
    try {
      if ((await listed(part)).names.length > 0) return part.prefix;
    } catch (error) {
      if (error instanceof RegistryError) return part.prefix;
      throw error;
    }
  }
  return undefined;
}

/** All of them behind `last`, in the order of their bytes. */
async function visibleNames(
  cache: EdgeCache,
  { upstream, prefix, last }: CatalogPart,
  visible: Visibility,
  signal: AbortSignal,
): Promise<Listed> {
  const names: RepositoryName[] = [];
  let result: CacheResult | undefined;
  let page: Page | undefined = PAGE;
  for (let asked = 0; page !== undefined; asked += 1) {
    if (asked === MAX_PAGES || signal.aborted)
      throw new RegistryError('UNAVAILABLE', 'the catalog is too long to be shown in part');
    const listing = listingOf(await cache.catalog(upstream, page), 'NAME_UNKNOWN');
    for (const text of JSON.parse(Buffer.from(listing.entries).toString()) as string[]) {
      // A name that is too long behind its prefix, or a prefix that no path can have, could not be asked for.
      const [name, shown] = [parseRepositoryName(text), parseRepositoryName(prefix + text)];
      if (name === undefined || shown === undefined || (last !== undefined && name <= last)) continue;
      if (visible.repository({ upstream, name }, shown)) names.push(shown);
    }
    result ??= listing.result;
    page = listing.next && { ...listing.next, n: PAGE.n };
  }
  return { names: [...new Set(names)].toSorted(), result };
}
