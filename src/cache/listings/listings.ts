import type { Clock } from '../../lib/clock.ts';
import { within } from '../../lib/within.ts';
import { parseTag } from '../../oci/reference.ts';
import { parseRepositoryName } from '../../oci/repository-name.ts';
import { repositoryKey, type RepositoryRef } from '../../oci/repository-ref.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { ms, seconds } from '../../lib/brand.ts';
import { ANSWER_DEADLINE, TOO_SLOW } from '../answer-deadline.ts';
import type { CacheResult, ListingAnswer, ListingQuestion } from '../keeper.ts';
import type { RulesOf } from '../manifests/freshness.ts';
import type { ManifestCache } from '../manifests/manifest-cache.ts';
import type { NegativeCache } from '../negative-cache.ts';
import type { KnownNames } from './known-names.ts';
import { ListCache, type KeptPage } from './list-cache.ts';
import { NamePages } from './name-pages.ts';
import { refusalOf, type Asked, type PagedList } from './paged-list.ts';
import { AS_THE_EDGE, askedAs, denialKey, type AskedAs } from '../verdicts/asked-as.ts';
import { SharedAnswers } from '../verdicts/shared-answers.ts';
import { ReferrerPages } from './referrer-pages.ts';

export interface ListingEvents {
  /** Bytes of a list came from an upstream. */
  received(bytes: number): void;
  /** An upstream's list cannot be used; `list` says which one. */
  refused(list: string, reason: string): void;
  storeFailed(error: unknown): void;
}

export interface ListingsParts {
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly manifests: ManifestCache;
  readonly known: KnownNames;
  readonly negative: NegativeCache;
  readonly clock: Clock;
  readonly rulesOf: RulesOf;
  /** Upstreams whose `_catalog` is asked; of others only what was pulled is listed. */
  readonly catalogs: ReadonlySet<string>;
  /** Upstreams that clients push to through this edge. */
  readonly pushed: ReadonlySet<string>;
  readonly events: ListingEvents;
}

/** Of the answer's deadline: what is left when the upstream was silent, for what else is known here. */
const LAST_RESORT = seconds(2);
const PATIENCE = ms(ANSWER_DEADLINE - LAST_RESORT);

const UNKNOWN = { kind: 'unknown' } as const;

/**
 * Tags, referrers and catalogs, in the keeper. One question per page however many ask; then as with tags of manifests:
 * fresh for a while, stale while the upstream is slow or away, gone at once when it says so.
 */
export class Listings {
  readonly #parts: ListingsParts;
  readonly #cache: ListCache;
  readonly #questions = new SharedAnswers<Asked>();

  constructor(parts: ListingsParts) {
    this.#parts = parts;
    this.#cache = new ListCache(parts.clock);
  }

  /** Answers within {@link ANSWER_DEADLINE} whatever the upstream does. */
  async listing(question: ListingQuestion): Promise<ListingAnswer> {
    const list = this.#listOf(question);
    const { clock, rulesOf, upstreams, negative } = this.#parts;
    const as = askedAs(upstreams.get(upstreamOf(question)), question.asker);
    if (list === undefined || negative.has(denialKey(negativeKey(list), as))) return UNKNOWN;
    const rules = rulesOf(upstreamOf(question));
    const fresh = list.kept(rules.tag);
    if (fresh !== undefined) return found(fresh, 'hit');
    let collapsed = true;
    // Who asks after a push does not join a question from before it.
    const asked = this.#questions.run(`${this.#cache.era} ${list.key}`, as, () => {
      collapsed = false;
      return this.#ask(list, question, as);
    });
    const stale = list.kept(rules.staleIfError);
    const patience = stale === undefined ? PATIENCE : ms(Math.min(rules.deadline, PATIENCE));
    const answer = (await within(clock, patience, asked)) ?? TOO_SLOW;
    if (answer.kind === 'page') return found(answer.page, collapsed ? 'collapsed' : 'miss');
    if (answer.kind === 'unknown' || answer.kind === 'unauthorized') return answer;
    const shown = stale ?? (await within(clock, LAST_RESORT, this.#known(list)));
    return shown === undefined ? answer : found(shown, 'stale');
  }

  async #ask(list: PagedList, question: ListingQuestion, as: AskedAs): Promise<Asked> {
    const { events, negative } = this.#parts;
    const { era } = this.#cache;
    try {
      const asked = await list.ask();
      if (asked.kind === 'invalid') events.refused(list.prefix, asked.reason);
      if (asked.kind !== 'unknown') return asked;
      if (as.key === '') list.drop();
      if (question.kind === 'catalog') return await this.#catalogFromHere(list);
      if (era === this.#cache.era) negative.add(denialKey(negativeKey(list), as), upstreamOf(question));
      return asked;
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal.kind === 'invalid') events.refused(list.prefix, refusal.reason);
      return refusal;
    }
  }

  /** Registries like Docker Hub have no catalog for anybody: what was pulled through here is all that can be listed. */
  async #catalogFromHere(list: PagedList): Promise<Asked> {
    const { era } = this.#cache;
    const page = (await this.#known(list)) ?? { entries: Buffer.from('[]'), next: undefined };
    this.#cache.put(list.key, page, era);
    return { kind: 'page', page };
  }

  /** A store that cannot answer leaves nothing to show; it never fails a question. */
  async #known(list: PagedList): Promise<KeptPage | undefined> {
    try {
      return await list.known();
    } catch (error) {
      this.#parts.events.storeFailed(error);
      return undefined;
    }
  }

  #listOf(question: ListingQuestion): PagedList | undefined {
    const { upstreams, known, catalogs, events } = this.#parts;
    const received = (bytes: number): void => events.received(bytes);
    const name = upstreamOf(question);
    const upstream = upstreams.get(name);
    if (upstream === undefined) return undefined;
    switch (question.kind) {
      case 'referrers':
        return this.#referrers(question, upstream);
      case 'tags': {
        const { repository, page } = question;
        const source = {
          prefix: `tags ${repositoryKey(repository)}`,
          upstream,
          repository: repository.name,
          path: 'tags/list',
          field: 'tags',
          accepts: (text: string) => parseTag(text) !== undefined,
          as: askedAs(upstream, question.asker),
          known: () => known.tags(repository),
          received,
        } as const;
        return new NamePages(source, page, this.#cache);
      }
      case 'catalog': {
        const source = {
          prefix: `catalog ${name}`,
          upstream: catalogs.has(name) ? upstream : undefined,
          repository: undefined,
          path: '_catalog',
          field: 'repositories',
          accepts: (text: string) => parseRepositoryName(text) !== undefined,
          as: AS_THE_EDGE,
          known: () => known.repositories(name),
          received,
        } as const;
        return new NamePages(source, question.page, this.#cache);
      }
    }
  }

  #referrers(question: Extract<ListingQuestion, { kind: 'referrers' }>, upstream: Upstream): PagedList {
    const { repository, digest, artifactType, page, asker } = question;
    const { manifests, pushed, events } = this.#parts;
    const source = {
      prefix: `referrers ${repositoryKey(repository)}@${digest}`,
      upstream,
      repository,
      digest,
      artifactType,
      pushed: pushed.has(repository.upstream),
      manifests,
      asker,
      received: (bytes: number): void => events.received(bytes),
    };
    return new ReferrerPages(source, page, this.#cache);
  }

  /** Whether it is answered without a question to the upstream, which has said a moment ago that there is none. */
  isKnownAbsent(question: ListingQuestion): boolean {
    const list = this.#listOf(question);
    return list === undefined || this.#parts.negative.has(negativeKey(list));
  }

  /** After a push or a purge: the next question asks the upstream. */
  forget(repository: RepositoryRef): void {
    this.#drop(`tags ${repositoryKey(repository)}?`);
    this.#drop(`referrers ${repositoryKey(repository)}@`);
  }

  forgetAll(): void {
    this.#drop('');
  }

  /** What is kept of these lists, and that they are not there. */
  #drop(prefix: string): void {
    this.#cache.drop(prefix);
    this.#parts.negative.deleteStarting(negativeKey({ key: prefix }));
  }
}

function negativeKey(list: Pick<PagedList, 'key'>): string {
  return `list ${list.key}`;
}

function found(page: KeptPage, result: CacheResult): ListingAnswer {
  return { kind: 'listing', entries: page.entries, next: page.next, result };
}

function upstreamOf(question: ListingQuestion): string {
  return question.kind === 'catalog' ? question.upstream : question.repository.upstream;
}
