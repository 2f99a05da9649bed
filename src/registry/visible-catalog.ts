import { LRUCache } from 'lru-cache';
import { ANSWER_DEADLINE } from '../cache/answer-deadline.ts';
import type { EdgeCache } from '../cache/edge-cache.ts';
import type { CacheResult } from '../cache/keeper.ts';
import { ms, seconds, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import { SingleFlight } from '../lib/single-flight.ts';
import { within } from '../lib/within.ts';
import { RegistryError } from '../oci/error-codes.ts';
import { FIRST_PAGE, type Page } from '../oci/page.ts';
import { parseRepositoryName, type RepositoryName } from '../oci/repository-name.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import { listingOf } from './listings.ts';

/** What a caller may see of a catalog. */
export interface Visibility {
  /** The same for callers for whom `upstream` and `repository` say the same. */
  readonly to: object;
  /** Of the names as this edge shows them, those that are seen at all; undefined: any. */
  readonly only: ReadonlySet<string> | undefined;
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

/** Names as this edge shows them, in the order of their bytes. */
interface Listed {
  readonly names: readonly RepositoryName[];
  readonly result: CacheResult;
}

interface Kept extends Listed {
  /** On the monotonic clock. */
  readonly until: Milliseconds;
}

const NOTHING: VisiblePage = { names: [], next: undefined, result: undefined };
const PAGE_NAMES = 1000;
/** A list that is longer is refused: one that stopped there would look complete. */
const MAX_PAGES = 100;
/** Enough for a client that reads page after page to come back. */
const KEPT_FOR = seconds(5);
/** In all lists that are kept: room for two of the longest. */
const MAX_NAMES_KEPT = 2 * MAX_PAGES * PAGE_NAMES + 2;

/**
 * Pages of what a caller may see, made of whole lists. The upstreams' own pages would tell by their length, by where they end and
 * by what the next one begins with that there is something else, and with `last` chosen well also what it is called; names that are
 * judged only up to the end of the page would tell by the time it takes how many are left out. What was judged is kept for a moment
 * for all who see the same, since the whole list for each small page is too much.
 */
export class VisibleCatalogs {
  readonly #cache: EdgeCache;
  readonly #clock: Clock;
  readonly #kept = new LRUCache<string, Kept>({
    maxSize: MAX_NAMES_KEPT,
    sizeCalculation: ({ names }) => names.length + 1,
  });
  readonly #judging = new SingleFlight<string, Listed>();
  readonly #numbers = new WeakMap<object, number>();
  #count = 0;

  constructor(cache: EdgeCache, clock: Clock) {
    this.#cache = cache;
    this.#clock = clock;
  }

  /** @throws {RegistryError} when a list cannot be had whole, or not in time. */
  async page(parts: readonly CatalogPart[], n: number, visible: Visibility): Promise<VisiblePage> {
    if (n === 0) return NOTHING;
    const listed = (part: CatalogPart): Promise<Listed> => this.#visibleNames(part, visible);
    const page = await within(this.#clock, ANSWER_DEADLINE, pageOf(parts, n, listed));
    if (page === undefined) throw new RegistryError('UNAVAILABLE', 'the catalog did not come in time');
    return page;
  }

  /** All of them behind `last`. */
  async #visibleNames(part: CatalogPart, visible: Visibility): Promise<Listed> {
    const { names, result } = await this.#listOf(part, visible);
    const { only } = visible;
    const seen = only === undefined ? names : [...only].toSorted().flatMap((name) => find(names, name));
    const from = part.last === undefined ? 0 : placeBehind(seen, part.prefix + part.last);
    return { names: seen.slice(from), result };
  }

  async #listOf(part: CatalogPart, visible: Visibility): Promise<Listed> {
    const key = `${this.#numberOf(visible.to)} ${part.upstream} ${part.prefix}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined && this.#clock.monotonic() < kept.until) return kept;
    return await this.#judging.run(key, async () => {
      const listed = await this.#judged(part, visible);
      const until = ms(this.#clock.monotonic() + KEPT_FOR);
      this.#kept.set(key, { ...listed, result: listed.result === 'stale' ? 'stale' : 'hit', until });
      return listed;
    });
  }

  /** Whoever waits for it has gone by the deadline, so it ends then. */
  async #judged({ upstream, prefix }: CatalogPart, visible: Visibility): Promise<Listed> {
    const end = this.#clock.monotonic() + ANSWER_DEADLINE;
    const names: RepositoryName[] = [];
    let page: Page = { ...FIRST_PAGE, n: PAGE_NAMES };
    for (let asked = 0; asked < MAX_PAGES && this.#clock.monotonic() < end; asked += 1) {
      const { entries, next, result } = listingOf(await this.#cache.catalog(upstream, page), 'NAME_UNKNOWN');
      for (const text of JSON.parse(Buffer.from(entries).toString()) as string[]) {
        // A name that is too long behind its prefix, or a prefix that no path can have, could not be asked for.
        const name = parseRepositoryName(text);
        const shown = prefix === '' ? name : parseRepositoryName(prefix + text);
        if (name === undefined || shown === undefined) continue;
        if (visible.repository({ upstream, name }, shown)) names.push(shown);
      }
      if (next === undefined) return { names: [...new Set(names)].toSorted(), result };
      page = { ...next, n: PAGE_NAMES };
    }
    throw new RegistryError('UNAVAILABLE', 'the catalog is too long to be shown in part');
  }

  #numberOf(to: object): number {
    const number = this.#numbers.get(to) ?? this.#count++;
    this.#numbers.set(to, number);
    return number;
  }
}

/** The first place whose name comes behind `text`. */
function placeBehind(names: readonly string[], text: string): number {
  let [from, to] = [0, names.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((names[middle] ?? '') <= text) from = middle + 1;
    else to = middle;
  }
  return from;
}

function find(names: readonly RepositoryName[], text: string): RepositoryName[] {
  const found = names[placeBehind(names, text) - 1];
  return found === text ? [found] : [];
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
