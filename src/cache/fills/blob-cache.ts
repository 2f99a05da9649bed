import { attempt } from '../../lib/attempt.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Places } from '../../lib/limits/places.ts';
import { Semaphore } from '../../lib/semaphore.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import { within } from '../../lib/within.ts';
import { ANSWER_DEADLINE, TOO_SLOW } from '../answer-deadline.ts';
import { completes, type Digest } from '../../oci/digest.ts';
import { repositoryKey, type RepositoryKey, type RepositoryRef } from '../../oci/repository-ref.ts';
import { hashFile, type BlobFiles, type OpenFile } from '../../store/blob-files.ts';
import { blobKey, type BlobIndex } from '../../store/blob-index.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { blobSources, SourceError, type BlobSource } from './blob-source.ts';
import { AllRefused, CallerSources } from './caller-sources.ts';
import { askedAs, denialKey, type AskedAs } from '../verdicts/asked-as.ts';
import type { Evictor } from '../eviction.ts';
import { Fill, type FillEvents, type FillTimes } from './fill.ts';
import type { FillRecords } from './fill-records.ts';
import type {
  BlobAnswer,
  BlobQuestion,
  BlobSizeAnswer,
  FillFailure,
  FillProgress,
  Limited,
  NotAuthorized,
  Unavailable,
  Unknown,
} from '../keeper.ts';
import type { Departures, MissCause } from '../departures.ts';
import type { Links } from '../links.ts';
import type { NegativeCache } from '../negative-cache.ts';

/** Transfers at a time; more wait their turn. */
const MAX_FILLS = 64;
/** Detached fills are remembered, for readers that still stand before the detachment. */
const MAX_DETACHED = 256;

export interface BlobCacheEvents extends FillEvents {
  /** A transfer began, because of that. */
  started(digest: Digest, repository: RepositoryRef, cause: MissCause): void;
  ended(digest: Digest, outcome: 'stored' | 'uncommitted' | 'detached' | FillFailure, bytes: number): void;
  /** A stored blob was not what its name says; it was set aside. */
  damaged(digest: Digest): void;
  storeFailed(error: unknown): void;
}

export interface BlobCacheParts {
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly files: BlobFiles;
  readonly index: BlobIndex;
  readonly links: Links;
  readonly departures: Departures;
  readonly negative: NegativeCache;
  readonly evictor: Evictor;
  /** Transfers that each caller may have started; absent: as many as there are. */
  readonly places?: Places | undefined;
  readonly records: FillRecords;
  readonly clock: Clock;
  readonly random: () => number;
  readonly times: FillTimes;
  readonly events: BlobCacheEvents;
}

interface Running {
  readonly fill: Fill;
  /** Of all who joined through the same repository. */
  readonly sources: CallerSources;
  /** Repositories for which the source's answer stands: the one that it was opened through. */
  readonly through: RepositoryKey;
  /** Resolves when the fill is out of the books. */
  readonly over: Promise<void>;
}

/** Whether this question is the one that started the fill. */
interface Asked {
  started: boolean;
  /** Gives back the place of its caller. */
  leave?: (() => void) | undefined;
}

type Refusal = NotAuthorized | Unknown | Unavailable;

const UNKNOWN: Unknown = { kind: 'unknown' };
const TOO_MANY_FILLS: Limited = { kind: 'limited', limit: 'fills', retryAfterSeconds: 2 };

/** Blobs in the keeper: one fill per digest, whoever asks, and never a blob for a repository that may not show it. */
export class BlobCache {
  readonly #parts: BlobCacheParts;
  readonly #running = new Map<Digest, Running>();
  readonly #detached = new Map<number, Fill>();
  readonly #starting = new SingleFlight<Digest, Running | 'stored' | 'full' | Unavailable>();
  readonly #verifying = new SingleFlight<Digest, void>();
  readonly #permissions = new SingleFlight<string, BlobSizeAnswer>();
  readonly #slots = new Semaphore(MAX_FILLS);
  #nextId = 1;
  #stopped = false;

  constructor(parts: BlobCacheParts) {
    this.#parts = parts;
  }

  get fillsRunning(): number {
    return this.#running.size;
  }

  /** Answers within {@link ANSWER_DEADLINE}: by then a source has said how large the blob is, or the client goes elsewhere. */
  async blob(question: BlobQuestion): Promise<BlobAnswer> {
    return (await within(this.#parts.clock, ANSWER_DEADLINE, this.#answer(question))) ?? TOO_SLOW;
  }

  async blobSize(question: BlobQuestion): Promise<BlobSizeAnswer> {
    return (await within(this.#parts.clock, ANSWER_DEADLINE, this.#size(question))) ?? TOO_SLOW;
  }

  async #answer(question: BlobQuestion): Promise<BlobAnswer> {
    const { repository } = question;
    const as = this.#askedAs(question);
    if (this.#parts.negative.has(denialKey(blobQuestionKey(question), as))) return UNKNOWN;
    const asked: Asked = { started: false };
    const running = await this.#runningOrStored(question, asked);
    if (running !== 'stored' && 'kind' in running) return running;
    const sameRepository = running !== 'stored' && running.through === repositoryKey(repository);
    if (!sameRepository) {
      const refusal = await this.#refusalFor(question);
      if (refusal !== undefined) return refusal;
    } else if (!asked.started) this.#addSource(running.sources, question, as);
    if (running === 'stored') return { kind: 'stored' };
    try {
      await running.fill.opened;
      const refusal = sameRepository ? running.sources.refusalTo(as) : undefined;
      if (refusal !== undefined) return this.#notOpened(question, refusal);
    } catch (error) {
      const word = error instanceof AllRefused ? running.sources.refusalTo(as) : error;
      if (sameRepository && word !== undefined) return this.#notOpened(question, word);
      // What another repository or another caller was refused says nothing about this one.
      await running.over;
      return await this.#answer(question);
    }
    return { kind: 'fill', fill: running.fill.progress, joined: !asked.started };
  }

  async #size(question: BlobQuestion): Promise<BlobSizeAnswer> {
    const as = this.#askedAs(question);
    if (this.#parts.negative.has(denialKey(blobQuestionKey(question), as))) return UNKNOWN;
    const stored = await this.#storedSize(question.digest);
    const size = stored ?? this.#running.get(question.digest)?.fill.progress.size;
    if (size !== undefined && size > 0 && (await this.#linked(question))) {
      return { kind: 'size', size, stored: stored !== undefined };
    }
    return await this.#askSize(question);
  }

  /** Hashes a stored blob, and sets it aside when it is not what its name says: the next question fetches it again. */
  verify(digest: Digest): Promise<void> {
    return this.#verifying.run(digest, async () => {
      const { files, index, events, departures } = this.#parts;
      const file = await files.open(digest);
      if (file === undefined || (await isWhole(file, digest))) return;
      await files.quarantine(digest);
      await index.remove(blobKey(digest));
      departures.note(blobKey(digest), 'damaged');
      events.damaged(digest);
    });
  }

  /** A client put or deleted this at the upstream. Never fails: the push itself has succeeded. */
  async pushed({ repository, digest }: BlobQuestion, gone: boolean): Promise<void> {
    this.#parts.negative.deleteStarting(blobQuestionKey({ repository, digest }));
    if (!gone) return;
    try {
      await this.#parts.links.remove(repository, digest);
    } catch (error) {
      this.#parts.events.storeFailed(error);
    }
  }

  /** A fill that could not go on to the disk, for a bypass. */
  detached(fillId: number): Fill | undefined {
    const running = [...this.#running.values()].find(({ fill }) => fill.id === fillId)?.fill;
    return running?.progress.state.kind === 'detached' ? running : this.#detached.get(fillId);
  }

  /** Where a fill stands now; undefined when it is over and was not detached. */
  progressOf(digest: Digest, fillId: number): FillProgress | undefined {
    const fill = this.#running.get(digest)?.fill;
    return (fill?.id === fillId ? fill : this.#detached.get(fillId))?.progress;
  }

  /** Resolves when no fill of this digest is in the books: what was fetched is indexed by then. */
  async over(digest: Digest): Promise<void> {
    await this.#running.get(digest)?.over;
  }

  /** Goes on with what an earlier run left, in the background. */
  async resume(left: readonly BlobQuestion[]): Promise<void> {
    for (const question of left)
      if (!this.#stopped) await this.#runningOrStored(question, { started: false });
  }

  /** Ends every transfer and keeps what has come. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const running = [...this.#running.values()];
    for (const { fill } of running) fill.stop();
    await Promise.all(running.map(({ over }) => over));
  }

  /** A caller who has too many fills under way waits without holding up others who want the same: who joins needs no place. */
  async #runningOrStored(
    question: BlobQuestion,
    asked: Asked,
  ): Promise<Running | 'stored' | Unavailable | Limited> {
    try {
      for (;;) {
        const found = await this.#join(question, asked);
        if (found !== 'full') return found;
        asked.leave ??= await this.#parts.places?.enter(question.asker?.caller ?? '');
        if (asked.leave === undefined) return this.#running.get(question.digest) ?? TOO_MANY_FILLS;
      }
    } finally {
      if (!asked.started) asked.leave?.();
    }
  }

  /** One at a time per digest, so that between looking and starting nobody else can start or finish. */
  #join(question: BlobQuestion, asked: Asked): Promise<Running | 'stored' | 'full' | Unavailable> {
    const { digest, asker } = question;
    const running = this.#running.get(digest);
    if (running !== undefined) return Promise.resolve(running);
    return this.#starting.run(digest, async () => {
      if ((await this.#storedSize(digest)) !== undefined) return 'stored';
      const { places } = this.#parts;
      if (asker !== undefined && places !== undefined) asked.leave ??= places.tryEnter(asker.caller);
      if (asker !== undefined && places !== undefined && asked.leave === undefined) return 'full';
      const release = await this.#slots.acquire();
      if (this.#stopped) {
        release();
        return { kind: 'unavailable', reason: 'the edge is stopping' };
      }
      asked.started = true;
      const { leave } = asked;
      return this.#start(question, () => {
        release();
        leave?.();
      });
    });
  }

  async #start(question: BlobQuestion, release: () => void): Promise<Running | Unavailable> {
    const { repository, digest } = question;
    const sources = new CallerSources();
    if (!this.#addSource(sources, question, this.#askedAs(question))) {
      release();
      return { kind: 'unavailable', reason: 'no such upstream' };
    }
    const { evictor, records, events, departures } = this.#parts;
    const id = this.#nextId++;
    const etag = await records.started(repository, digest);
    const fill = new Fill(id, digest, sources, etag, {
      ...this.#parts,
      reserve: (size) => evictor.reserve(id, size),
    });
    const over = this.#follow(fill, repository, release);
    const running: Running = { fill, sources, through: repositoryKey(repository), over };
    this.#running.set(digest, running);
    events.started(digest, repository, departures.causeOf(blobKey(digest)));
    return running;
  }

  async #follow(fill: Fill, repository: RepositoryRef, release: () => void): Promise<void> {
    const { evictor, index, records, events, links } = this.#parts;
    try {
      if (await opens(fill)) {
        await this.#attempt(() => links.add(repository, [fill.digest]));
        await this.#attempt(() => records.opened(repository, fill.digest, fill.etag));
      }
      const { state, committed, size } = await fill.ended;
      if (state.kind === 'detached') this.#remember(fill);
      // From here on nobody joins it: what is stored is opened, and what failed is tried again.
      this.#running.delete(fill.digest);
      if (committed) await this.#attempt(() => index.add(blobKey(fill.digest), size));
      const stopped = state.kind === 'failed' && state.reason !== 'corrupt';
      if (!stopped && !this.#running.has(fill.digest)) await this.#attempt(() => records.ended(fill.digest));
      events.ended(
        fill.digest,
        outcomeOf(state.kind === 'failed' ? state.reason : state.kind, committed),
        size,
      );
    } finally {
      evictor.release(fill.id);
      release();
    }
    await this.#attempt(() => evictor.settle());
  }

  #remember(fill: Fill): void {
    this.#detached.set(fill.id, fill);
    const [oldest] = this.#detached.keys();
    if (this.#detached.size > MAX_DETACHED && oldest !== undefined) this.#detached.delete(oldest);
  }

  #source({ repository, digest }: BlobQuestion, as: AskedAs): BlobSource | undefined {
    const upstream = this.#parts.upstreams.get(repository.upstream);
    return upstream && blobSources(upstream, repository, digest, as)[0];
  }

  /** False without an upstream to ask. */
  #addSource(sources: CallerSources, question: BlobQuestion, as: AskedAs): boolean {
    const source = this.#source(question, as);
    if (source !== undefined) sources.join(as, source);
    return source !== undefined;
  }

  #askedAs({ repository, asker }: BlobQuestion): AskedAs {
    return askedAs(this.#parts.upstreams.get(repository.upstream), asker);
  }

  /** Why this repository may not show a blob that is here for another one; undefined when it may. */
  async #refusalFor(question: BlobQuestion): Promise<Exclude<BlobSizeAnswer, { kind: 'size' }> | undefined> {
    if (await this.#linked(question)) return undefined;
    const answer = await this.#askSize(question);
    return answer.kind === 'size' ? undefined : answer;
  }

  #askSize(question: BlobQuestion): Promise<BlobSizeAnswer> {
    const as = this.#askedAs(question);
    return this.#permissions.run(denialKey(blobQuestionKey(question), as), async () => {
      const source = this.#source(question, as);
      if (source === undefined) return UNKNOWN;
      try {
        const size = await source.size();
        await this.#attempt(() => this.#parts.links.add(question.repository, [question.digest]));
        return { kind: 'size', size, stored: false };
      } catch (error) {
        return this.#notOpened(question, error);
      }
    });
  }

  #notOpened(question: BlobQuestion, error: unknown): Refusal {
    if (error instanceof SourceError && error.challenges !== undefined)
      return { kind: 'unauthorized', challenges: error.challenges };
    if (error instanceof SourceError && error.kind === 'unknown') {
      const key = denialKey(blobQuestionKey(question), this.#askedAs(question));
      this.#parts.negative.add(key, question.repository.upstream);
      return UNKNOWN;
    }
    return { kind: 'unavailable', reason: error instanceof Error ? error.message : 'the fill failed' };
  }

  async #linked({ repository, digest }: BlobQuestion): Promise<boolean> {
    return (await this.#attempt(() => this.#parts.links.has(repository, digest))) ?? false;
  }

  async #storedSize(digest: Digest): Promise<number | undefined> {
    const file = await this.#attempt(() => this.#parts.files.open(digest));
    await file?.close();
    return file?.size;
  }

  #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    return attempt(work, (error) => this.#parts.events.storeFailed(error));
  }
}

async function isWhole(file: OpenFile, digest: Digest): Promise<boolean> {
  try {
    return completes(await hashFile(file, file.size, digest), digest);
  } finally {
    await file.close();
  }
}

async function opens(fill: Fill): Promise<boolean> {
  try {
    await fill.opened;
    return true;
  } catch {
    // Told to whoever asked for the blob, and by the fill's end.
    return false;
  }
}

function blobQuestionKey({ repository, digest }: BlobQuestion): string {
  return `${repositoryKey(repository)}@${digest}`;
}

function outcomeOf(
  end: 'running' | 'done' | 'detached' | FillFailure,
  committed: boolean,
): 'stored' | 'uncommitted' | 'detached' | FillFailure {
  if (end === 'running' || end === 'done') return committed ? 'stored' : 'uncommitted';
  return end;
}
