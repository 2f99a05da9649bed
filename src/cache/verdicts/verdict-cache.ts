import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import { within } from '../../lib/within.ts';
import { repositoryKey, type RepositoryRef } from '../../oci/repository-ref.ts';
import { claimedEnd } from '../../oci/shown-claims.ts';
import { UpstreamError, type TokenStore, type Upstream } from '../../upstream/upstream.ts';
import { ANSWER_DEADLINE, TOO_SLOW } from '../answer-deadline.ts';
import type { Unavailable, VerdictAnswer, VerdictQuestion } from '../keeper.ts';
import type { FreshnessRules, RulesOf } from '../manifests/freshness.ts';
import { reasonFor } from '../reason-for.ts';
import { Denials, type Denial } from './denials.ts';
import { Doors } from './doors.ts';
import { askFor, knock, type Word } from './questions.ts';
import { VerdictRecords, type Allowed, type VerdictStore } from './verdict-records.ts';

/** A no is not asked for again so soon. */
const DENIAL_LIFE = seconds(3);
/** During an outage, between two tries to ask about one caller. */
const GRACE_STEP = seconds(5);

export interface VerdictEvents {
  judged(upstream: string, outcome: VerdictAnswer['kind'] | 'grace'): void;
  unanswered(upstream: string, error: UpstreamError): void;
  storeFailed(error: unknown): void;
}

export interface VerdictCacheParts {
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly rulesOf: RulesOf;
  readonly clock: Clock;
  /** Shared by the edges of a site. */
  readonly store: VerdictStore;
  /** For what upstreams say to everybody. */
  readonly doors: TokenStore;
  readonly secret: Uint8Array;
  readonly events: VerdictEvents;
}

/** One question to an upstream, and what it was about. */
interface Asked {
  readonly path: string | undefined;
  readonly answer: VerdictAnswer;
}

const UNKNOWN = { kind: 'unknown' } as const;

/**
 * What upstreams say to callers, in the keeper. A yes is about the repository, whatever was asked for, and kept; a no
 * may be about the object alone, and is remembered only against floods. One question per caller and repository,
 * however many ask.
 */
export class VerdictCache {
  readonly #parts: VerdictCacheParts;
  readonly #records: VerdictRecords;
  readonly #denials: Denials;
  readonly #doors: Doors;
  readonly #asking = new SingleFlight<string, Asked>();

  constructor(parts: VerdictCacheParts) {
    const { clock, upstreams, events } = parts;
    const storeFailed = (error: unknown): void => events.storeFailed(error);
    this.#parts = parts;
    this.#records = new VerdictRecords({ ...parts, storeFailed });
    this.#denials = new Denials(clock);
    this.#doors = new Doors({
      upstreams,
      clock,
      store: parts.doors,
      unanswered: (upstream, error) => events.unanswered(upstream, error),
      storeFailed,
    });
  }

  /**
   * Answers within {@link ANSWER_DEADLINE} whatever the upstream does.
   * @param gate stands before what has to be asked
   */
  async verdict(
    question: VerdictQuestion,
    gate: (ask: () => Promise<VerdictAnswer>) => Promise<VerdictAnswer> = (ask) => ask(),
  ): Promise<VerdictAnswer> {
    const { upstream, wanted, authorization } = question;
    if (wanted === undefined && authorization === undefined) return await this.#ping(upstream);
    const rules = this.#parts.rulesOf(upstream);
    const caller = this.#records.callerOf(authorization);
    const key = `${wanted === undefined ? upstream : repositoryKey(wanted.repository)} ${caller}`;
    const denied = this.#denials.get(key) ?? this.#denials.get(objectKey(key, wanted?.path));
    if (denied !== undefined) return denied;
    const known = await this.#records.get(key, rules.verdict);
    const left = known === undefined ? 0 : this.#left(known, rules.verdict);
    if (known !== undefined && left > 0) return allowed(known, left);
    const ask = (): Promise<VerdictAnswer> => this.#ask(question, key, rules);
    const asked = gate(() => this.#once(key, wanted?.path, ask));
    const grace = known === undefined ? 0 : this.#left(known, ms(rules.verdict + rules.verdictGrace));
    const patience = grace > 0 ? ms(Math.min(rules.deadline, ANSWER_DEADLINE)) : ANSWER_DEADLINE;
    const answer = (await within(this.#parts.clock, patience, asked)) ?? TOO_SLOW;
    if (known === undefined || grace <= 0 || answer.kind !== 'unavailable') return answer;
    this.#parts.events.judged(upstream, 'grace');
    return allowed(known, Math.min(grace, GRACE_STEP, rules.verdict));
  }

  /** Somebody has pushed there: what was not there may be now. */
  pushed(repository: RepositoryRef): void {
    this.#denials.drop(`${repositoryKey(repository)} `);
  }

  /** Of what was said for one object, who asks for another takes all but that it is not there. */
  async #once(
    key: string,
    path: string | undefined,
    ask: () => Promise<VerdictAnswer>,
  ): Promise<VerdictAnswer> {
    const work = async (): Promise<Asked> => ({ path, answer: await ask() });
    const { answer, path: other } = await this.#asking.run(key, work);
    if (answer.kind !== 'unknown' || other === path) return answer;
    return (await this.#asking.run(objectKey(key, path), work)).answer;
  }

  async #ask(question: VerdictQuestion, key: string, rules: FreshnessRules): Promise<VerdictAnswer> {
    const { events } = this.#parts;
    const { era } = this.#denials;
    const answer = await this.#askUpstream(question, key, rules);
    events.judged(question.upstream, answer.kind);
    if (answer.kind === 'unknown' || answer.kind === 'unauthorized') {
      await this.#records.delete(key);
      const about = answer.kind === 'unknown' ? objectKey(key, question.wanted?.path) : key;
      this.#denials.add(about, answer, ms(Math.min(DENIAL_LIFE, rules.negative)), era);
    }
    return answer;
  }

  async #askUpstream(
    { upstream: name, wanted, authorization }: VerdictQuestion,
    key: string,
    rules: FreshnessRules,
  ): Promise<VerdictAnswer> {
    const { upstreams, clock } = this.#parts;
    const upstream = upstreams.get(name);
    if (upstream === undefined) return UNKNOWN;
    const since = clock.monotonic();
    try {
      const response =
        wanted === undefined
          ? await knock(upstream, authorization)
          : await askFor(upstream, wanted, authorization);
      const denial = denialOf(response);
      if (denial !== undefined) return denial;
      const end = claimedEnd(authorization);
      const until = end === undefined ? ms(Infinity) : ms(end - clock.now() + clock.monotonic());
      const yes: Allowed = { since, until, identified: await this.#isClosed(name) };
      const left = this.#left(yes, rules.verdict);
      if (left > 0) this.#records.put(key, yes, ms(rules.verdict + rules.verdictGrace));
      return allowed(yes, left);
    } catch (error) {
      return this.#unanswered(name, error);
    }
  }

  async #ping(upstream: string): Promise<VerdictAnswer> {
    try {
      const door = await within(this.#parts.clock, ANSWER_DEADLINE, this.#doors.of(upstream));
      if (door === undefined) return TOO_SLOW;
      return door.open
        ? { kind: 'allowed', freshFor: ms(0), identified: false }
        : { kind: 'unauthorized', challenges: door.challenges };
    } catch (error) {
      return this.#unanswered(upstream, error);
    }
  }

  /** A registry that lets everybody in does not look at what it is shown. */
  async #isClosed(upstream: string): Promise<boolean> {
    try {
      return !(await this.#doors.of(upstream)).open;
    } catch (error) {
      this.#unanswered(upstream, error);
      return false;
    }
  }

  #unanswered(upstream: string, error: unknown): Unavailable {
    if (!(error instanceof UpstreamError)) throw error;
    this.#parts.events.unanswered(upstream, error);
    return { kind: 'unavailable', reason: reasonFor(error) };
  }

  #left({ since, until }: Allowed, life: Milliseconds): number {
    const now = this.#parts.clock.monotonic();
    return Math.max(0, Math.min(since + life - now, until - now));
  }
}

/** Undefined: it may be read. @throws {UpstreamError} when the answer says neither yes nor no. */
function denialOf({ status, challenges = [] }: Word): Denial | undefined {
  if (status >= 200 && status < 300) return undefined;
  if (status === 401) return { kind: 'unauthorized', challenges };
  if (status === 403 || status === 404 || status === 410) return UNKNOWN;
  throw new UpstreamError('protocol', `the upstream answered ${status}`);
}

function allowed({ identified }: Allowed, freshFor: number): VerdictAnswer {
  return { kind: 'allowed', freshFor: ms(freshFor), identified };
}

function objectKey(key: string, path: string | undefined): string {
  return `${key} ${path ?? ''}`;
}
