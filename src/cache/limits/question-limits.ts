import { createHash } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { repositoryKey } from '../../oci/repository-ref.ts';
import type { LocalMetadata } from '../../store/metadata-store.ts';
import type {
  BlobQuestion,
  Limited,
  ListingAnswer,
  ListingQuestion,
  ManifestQuestion,
  VerdictAnswer,
  VerdictQuestion,
} from '../keeper.ts';
import { isLinked } from '../links.ts';
import type { Listings } from '../listings/listings.ts';
import { tagKey } from '../manifests/freshness.ts';
import type { NegativeCache } from '../negative-cache.ts';
import { UnknownBudget } from './unknown-budget.ts';

/** Stands before the questions of callers; `ask` is the question itself. */
export interface QuestionLimits {
  manifest<A extends Answer>(question: ManifestQuestion, ask: () => Promise<A>): Promise<A | Limited>;
  blob<A extends Answer>(question: BlobQuestion, ask: () => Promise<A>): Promise<A | Limited>;
  listing(question: ListingQuestion, ask: () => Promise<ListingAnswer>): Promise<ListingAnswer>;
  /** For one whose answer is not known here. */
  verdict(question: VerdictQuestion, ask: () => Promise<VerdictAnswer>): Promise<VerdictAnswer>;
}

interface Answer {
  readonly kind: string;
}

export const UNLIMITED: QuestionLimits = {
  manifest: (_question, ask) => ask(),
  blob: (_question, ask) => ask(),
  listing: (_question, ask) => ask(),
  verdict: (_question, ask) => ask(),
};

export interface UnknownLimitsParts {
  readonly clock: Clock;
  /** Of this host. */
  readonly local: LocalMetadata;
  readonly negative: NegativeCache;
  readonly listings: Pick<Listings, 'isKnownAbsent'>;
}

/**
 * Keeps callers from sending upstreams through all names that there could be. What this edge has heard of is not counted: a tag
 * that was pulled, and everything that a manifest names which came through here, so that a pull goes on to its end
 * once its first manifest is known, whatever others behind the same address do. Nor is what is known not to be there: that
 * costs no question.
 */
export class UnknownLimits implements QuestionLimits {
  readonly #parts: UnknownLimitsParts;
  readonly #budget: UnknownBudget;

  constructor(unknownPerSecond: number, parts: UnknownLimitsParts) {
    this.#parts = parts;
    this.#budget = new UnknownBudget(parts.clock, unknownPerSecond);
  }

  change(unknownPerSecond: number): void {
    this.#budget.change(unknownPerSecond);
  }

  async manifest<A extends Answer>(
    { repository, reference, asker }: ManifestQuestion,
    ask: () => Promise<A>,
  ): Promise<A | Limited> {
    const { local, negative } = this.#parts;
    if (reference.kind === 'digest')
      return await this.blob({ repository, digest: reference.digest, ...(asker && { asker }) }, ask);
    const key = tagKey(repository, reference.tag);
    if (asker === undefined || local.has('tags', key) || negative.has(key)) return await ask();
    return await this.#budget.ask({ caller: asker.caller, key }, ask, isUnknown);
  }

  async blob<A extends Answer>(
    { repository, digest, asker }: BlobQuestion,
    ask: () => Promise<A>,
  ): Promise<A | Limited> {
    const key = `${repositoryKey(repository)}@${digest}`;
    const { local, negative } = this.#parts;
    if (asker === undefined || isLinked(local, repository, digest) || negative.has(key)) return await ask();
    return await this.#budget.ask({ caller: asker.caller, key }, ask, isUnknown);
  }

  async listing(question: ListingQuestion, ask: () => Promise<ListingAnswer>): Promise<ListingAnswer> {
    const { asker } = question;
    const { local, listings } = this.#parts;
    // A catalog is one list, and not of names that a caller makes up.
    if (asker === undefined || question.kind === 'catalog' || listings.isKnownAbsent(question))
      return await ask();
    const { repository } = question;
    if (question.kind === 'referrers' && isLinked(local, repository, question.digest)) return await ask();
    const what = question.kind === 'referrers' ? `referrers ${question.digest}` : 'tags';
    const key = `${what} ${repositoryKey(repository)}`;
    return await this.#budget.ask({ caller: asker.caller, key }, ask, isVainList);
  }

  /** Made-up names, and made-up credentials: each is another question. */
  async verdict(
    { upstream, caller, wanted, authorization = '' }: VerdictQuestion,
    ask: () => Promise<VerdictAnswer>,
  ): Promise<VerdictAnswer> {
    if (caller === undefined) return await ask();
    const about =
      wanted === undefined ? upstream : `${repositoryKey(wanted.repository)} ${wanted.path ?? ''}`;
    const shown = createHash('sha256').update(authorization).digest('base64url');
    return await this.#budget.ask({ caller, key: `verdict ${about} ${shown}` }, ask, isRefusal);
  }
}

function isRefusal({ kind }: VerdictAnswer): boolean {
  return kind === 'unknown' || kind === 'unauthorized';
}

function isUnknown({ kind }: Answer): boolean {
  return kind === 'unknown';
}

/** Of what does not exist, registries say that nothing refers to it. */
function isVainList(answer: ListingAnswer): boolean {
  if (answer.kind !== 'listing') return isUnknown(answer);
  return answer.result === 'miss' && Buffer.from(answer.entries).toString() === '[]';
}
