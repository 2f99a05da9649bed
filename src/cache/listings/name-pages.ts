import { encodeNames, namesAfter, parseNameList, partOf, type NameList } from '../../oci/name-list.ts';
import { FIRST_PAGE, nextPage, pageQuery, upstreamQuery, type Page } from '../../oci/page.ts';
import { MiB, type Milliseconds } from '../../lib/brand.ts';
import type { RepositoryName } from '../../oci/repository-name.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { AskedAs } from '../verdicts/asked-as.ts';
import type { KeptPage, ListCache } from './list-cache.ts';
import { askForList, type Asked, type PagedList } from './paged-list.ts';

/** A page of names; longer ones are refused rather than held in memory. */
const MAX_BYTES = 8 * MiB;

/** A list of names: the tags of a repository, the repositories of an upstream. */
export interface NameSource {
  /** Begins the keys of its pages. */
  readonly prefix: string;
  /** Undefined when it is not to be asked. */
  readonly upstream: Upstream | undefined;
  readonly repository: RepositoryName | undefined;
  readonly path: string;
  readonly field: 'tags' | 'repositories';
  readonly accepts: (name: string) => boolean;
  readonly as: AskedAs;
  /** In order. */
  readonly known: () => Promise<readonly string[]>;
  readonly received: (bytes: number) => void;
}

/**
 * A page of a list of names. A registry that ignores `n` (distribution before 3.0 does for tags) sends all of them: then
 * the pages are cut here, and the next ones come out of the list that is kept.
 */
export class NamePages implements PagedList {
  readonly prefix: string;
  readonly key: string;
  readonly #source: NameSource;
  readonly #page: Page;
  readonly #cache: ListCache;
  readonly #era: number;
  readonly #wholeKey: string;

  constructor(source: NameSource, page: Page, cache: ListCache) {
    this.prefix = source.prefix;
    this.key = keyOf(source.prefix, page);
    this.#wholeKey = keyOf(source.prefix, FIRST_PAGE);
    this.#source = source;
    this.#page = page;
    this.#cache = cache;
    this.#era = cache.era;
  }

  kept(maxAge: Milliseconds): KeptPage | undefined {
    const own = this.#cache.get(this.key, maxAge);
    if (own !== undefined || this.#page.cursor !== undefined) return own;
    const whole = this.#cache.get(this.#wholeKey, maxAge);
    if (whole === undefined || whole.next !== undefined) return undefined;
    const part = partOf(whole.entries, this.#page.n, this.#page.last);
    return part && this.#pageOf(part.names, part.more);
  }

  async ask(): Promise<Asked> {
    const { upstream, repository, path, field, accepts, as, received } = this.#source;
    if (upstream === undefined) return { kind: 'unknown' };
    const query = upstreamQuery(this.#page);
    const accept = 'application/json';
    const body = await askForList(upstream, {
      repository,
      path,
      query,
      accept,
      as,
      maxBytes: MAX_BYTES,
      received,
    });
    if (typeof body === 'number') return denialOf(body);
    if ('kind' in body) return body;
    const names = parseNameList(body.content, field, accepts);
    const page = this.#pageFrom(names, nextPage(body.headers['link'], this.#page));
    this.#cache.put(this.key, page, this.#era);
    return { kind: 'page', page };
  }

  drop(): void {
    this.#cache.delete(this.key);
    this.#cache.delete(this.#wholeKey);
  }

  async known(): Promise<KeptPage | undefined> {
    const names = await this.#source.known();
    return names.length === 0 ? undefined : this.#part(encodeNames(names));
  }

  /** What the upstream sent, made the page that was asked for. */
  #pageFrom(names: readonly string[], next: Page | undefined): KeptPage {
    const { n = Infinity, last, cursor } = this.#page;
    if (cursor !== undefined) return { entries: encodeNames(names), next };
    const ignoredLast = last !== undefined && names.includes(last);
    const whole = next === undefined && (last === undefined || ignoredLast);
    // The spec's order; distribution lists tags as the disk has them, and a page must not depend on that. A page that
    // may be followed by another keeps the upstream's order, which its `last` belongs to.
    const list = encodeNames(next === undefined && names.length !== n ? names.toSorted() : names);
    if (names.length <= n && !ignoredLast) return { entries: list, next };
    if (whole) this.#cache.put(this.#wholeKey, { entries: list, next }, this.#era);
    const page = this.#part(list);
    return page.next === undefined ? { ...page, next } : page;
  }

  #part(names: NameList): KeptPage {
    const { n, last } = this.#page;
    const part =
      partOf(names, n, last) ??
      (last === undefined ? undefined : partOf(namesAfter(names, last), n, undefined));
    return this.#pageOf(part?.names ?? encodeNames([]), part?.more);
  }

  #pageOf(entries: NameList, more: string | undefined): KeptPage {
    const next = more === undefined ? undefined : { n: this.#page.n, last: more, cursor: undefined };
    return { entries, next };
  }
}

function keyOf(prefix: string, page: Page): string {
  return `${prefix}?${pageQuery(page).toString()}`;
}

function denialOf(status: number): Asked {
  return [401, 403, 404, 405, 410].includes(status)
    ? { kind: 'unknown' }
    : { kind: 'invalid', reason: `the upstream answered ${status}` };
}
