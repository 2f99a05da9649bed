import { LRUCache } from 'lru-cache';
import { SingleFlight } from '../lib/single-flight.ts';
import { repositoryKey, type RepositoryKey, type RepositoryRef } from '../oci/repository-ref.ts';
import { UpstreamError, type Upstream } from '../upstream/upstream.ts';
import type { ListingAnswer, ListingQuestion } from './keeper.ts';
import { reasonFor } from './reason-for.ts';
import { readBody } from '../lib/read-body.ts';

/** A page of tags or referrers; larger ones are refused rather than held in memory. */
const MAX_LISTING_BYTES = 8 * 1024 * 1024;
const MAX_CHANGED = 1000;

/** Tags and referrers: asked of the upstream each time, one question however many ask it at once. */
export class Listings {
  readonly #upstreams: ReadonlyMap<string, Upstream>;
  readonly #questions = new SingleFlight<string, ListingAnswer>();
  /** How often a repository was changed through this edge; a question from before is not joined any more. */
  readonly #changes = new LRUCache<RepositoryKey, number>({ max: MAX_CHANGED });

  constructor(upstreams: ReadonlyMap<string, Upstream>) {
    this.#upstreams = upstreams;
  }

  listing(question: ListingQuestion): Promise<ListingAnswer> {
    const key = repositoryKey(question.repository);
    return this.#questions.run(`${key} ${this.#changes.get(key) ?? 0} ${question.path}`, () =>
      this.#ask(question),
    );
  }

  /** A client changed the repository at the upstream. */
  drop(repository: RepositoryRef): void {
    const key = repositoryKey(repository);
    this.#changes.set(key, (this.#changes.get(key) ?? 0) + 1);
  }

  async #ask({ repository, path }: ListingQuestion): Promise<ListingAnswer> {
    const upstream = this.#upstreams.get(repository.upstream);
    if (upstream === undefined) return { kind: 'unknown' };
    try {
      const response = await upstream.ask({ method: 'GET', repository: repository.name, path });
      if (response.status !== 200) {
        response.body.destroy();
        if ([401, 403, 404, 410].includes(response.status)) return { kind: 'unknown' };
        return { kind: 'unavailable', reason: `the upstream answered ${response.status}` };
      }
      const content = await readBody(response.body, MAX_LISTING_BYTES);
      if (content === undefined)
        return { kind: 'unavailable', reason: 'the upstream sent a list that is too long' };
      return {
        kind: 'listing',
        mediaType: response.headers['content-type'] ?? 'application/json',
        content,
        nextQuery: nextQuery(response.headers['link']),
        filters: response.headers['oci-filters-applied'],
      };
    } catch (error) {
      if (error instanceof UpstreamError) return { kind: 'unavailable', reason: reasonFor(error) };
      return { kind: 'unavailable', reason: 'the upstream broke off the list' };
    }
  }
}

/** Only the query of the next page is taken over: whatever host or path the upstream names, clients stay here. */
function nextQuery(link: string | undefined): string | undefined {
  if (link === undefined || link.length > 4096 || !/;\s*rel="?next"?/.test(link)) return undefined;
  const end = link.indexOf('>');
  const target = link.startsWith('<') && end > 0 ? link.slice(1, end) : '';
  const query = target.slice(target.indexOf('?') + 1);
  return target.includes('?') && /^[\w.~%=&:/+-]*$/.test(query) ? query : undefined;
}
