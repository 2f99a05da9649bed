import type { AuditEntry } from '../audit/audit-entry.ts';
import type { Clock } from '../lib/clock.ts';
import type { Usage } from '../lib/limits/usage.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobIndex, IndexKey } from '../store/blob-index.ts';
import { Bypass } from './fills/bypass.ts';
import type { BlobCache } from './fills/blob-cache.ts';
import type {
  BlobAnswer,
  BlobQuestion,
  BlobSizeAnswer,
  BypassQuestion,
  FillProgress,
  Keeper,
  KeeperEvent,
  ListingAnswer,
  ListingQuestion,
  ManifestAnswer,
  ManifestQuestion,
  PushNotice,
  VerdictAnswer,
  VerdictQuestion,
} from './keeper.ts';
import { UNLIMITED, type QuestionLimits } from './limits/question-limits.ts';
import type { Listings } from './listings/listings.ts';
import type { VerdictCache } from './verdicts/verdict-cache.ts';
import type { ManifestCache } from './manifests/manifest-cache.ts';

export interface KeeperCoreParts {
  readonly blobs: BlobCache;
  readonly manifests: ManifestCache;
  readonly listings: Listings;
  readonly verdicts: VerdictCache;
  readonly index: BlobIndex;
  readonly clock: Clock;
  readonly received: (bytes: number) => void;
  readonly audit: (entries: readonly AuditEntry[]) => void;
  /** Of callers' questions; absent: none. */
  readonly limits?: QuestionLimits | undefined;
  /** What callers have used here goes to the other edges of the site; absent: there are none. */
  readonly used?: ((usage: Usage) => void) | undefined;
}

type Listener = (event: KeeperEvent) => void;

/** The keeper's side of {@link Keeper}: one session per worker, so that a worker's end leaves nothing behind. */
export class KeeperCore {
  readonly parts: KeeperCoreParts;
  readonly #sessions = new Set<KeeperSession>();
  /** Upstreams that cannot be asked now: a worker that comes later has to know as well. */
  readonly #down = new Set<string>();

  constructor(parts: KeeperCoreParts) {
    this.parts = parts;
  }

  connect(listener: Listener): KeeperSession {
    const session: KeeperSession = new KeeperSession(this.parts, listener, {
      used: (usage) => this.#used(session, usage),
      ended: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
    for (const name of this.#down) session.tell({ kind: 'upstream', name, available: false });
    return session;
  }

  /** Passes on where a fill stands to the sessions that follow it. */
  tellProgress(progress: FillProgress): void {
    for (const session of this.#sessions) session.tellProgress(progress);
  }

  tellUpstream(name: string, available: boolean): void {
    if (available) this.#down.delete(name);
    else this.#down.add(name);
    for (const session of this.#sessions) session.tell({ kind: 'upstream', name, available });
  }

  /** What callers have used at other edges of the site. */
  tellUsed(usage: Usage): void {
    for (const session of this.#sessions) session.tell({ kind: 'usage', usage, by: 'edges' });
  }

  #used(from: KeeperSession, usage: Usage): void {
    for (const session of this.#sessions)
      if (session !== from) session.tell({ kind: 'usage', usage, by: 'workers' });
    this.parts.used?.(usage);
  }
}

interface SessionEvents {
  used(usage: Usage): void;
  ended(): void;
}

export class KeeperSession implements Keeper {
  readonly #parts: KeeperCoreParts;
  readonly #listener: Listener;
  readonly #events: SessionEvents;
  readonly #limits: QuestionLimits;
  readonly #followed = new Set<number>();
  readonly #bypasses = new Map<number, Bypass>();
  #nextTicket = 1;

  constructor(parts: KeeperCoreParts, listener: Listener, events: SessionEvents) {
    this.#parts = parts;
    this.#listener = listener;
    this.#events = events;
    this.#limits = parts.limits ?? UNLIMITED;
  }

  manifest(question: ManifestQuestion): Promise<ManifestAnswer> {
    return this.#limits.manifest(question, () => this.#parts.manifests.manifest(question));
  }

  blob(question: BlobQuestion): Promise<BlobAnswer> {
    return this.#limits.blob(question, () => this.#blob(question));
  }

  async #blob(question: BlobQuestion): Promise<BlobAnswer> {
    const answer = await this.#parts.blobs.blob(question);
    if (answer.kind !== 'fill') return answer;
    // Follow first and look again then: what happened between the answer and here would be missed otherwise.
    const { fillId } = answer.fill;
    this.#followed.add(fillId);
    const progress = this.#parts.blobs.progressOf(question.digest, fillId);
    if (progress?.state.kind !== 'running') this.#followed.delete(fillId);
    if (progress !== undefined) return { ...answer, fill: progress };
    return await this.#blob(question);
  }

  blobSize(question: BlobQuestion): Promise<BlobSizeAnswer> {
    return this.#limits.blob(question, () => this.#parts.blobs.blobSize(question));
  }

  listing(question: ListingQuestion): Promise<ListingAnswer> {
    return this.#limits.listing(question, () => this.#parts.listings.listing(question));
  }

  async openBypass({ fillId, restOnly }: BypassQuestion): Promise<number | undefined> {
    const fill = this.#parts.blobs.detached(fillId);
    if (fill === undefined) return undefined;
    const ticket = this.#nextTicket++;
    this.#bypasses.set(ticket, new Bypass(fill, restOnly, this.#parts.clock, this.#parts.received));
    return ticket;
  }

  async readBypass(ticket: number): Promise<Uint8Array | undefined> {
    const bypass = this.#bypasses.get(ticket);
    if (bypass === undefined) throw new Error('no such bypass');
    return await bypass.read();
  }

  closeBypass(ticket: number): void {
    this.#bypasses.get(ticket)?.close();
    this.#bypasses.delete(ticket);
  }

  suspect(digest: Digest): Promise<void> {
    return this.#parts.blobs.verify(digest);
  }

  verdict(question: VerdictQuestion): Promise<VerdictAnswer> {
    return this.#parts.verdicts.verdict(question, (ask) => this.#limits.verdict(question, ask));
  }

  async pushed(notice: PushNotice): Promise<void> {
    const { blobs, manifests, listings, verdicts } = this.#parts;
    const { repository, gone } = notice;
    verdicts.pushed(repository);
    if (notice.kind === 'blob') {
      await blobs.pushed({ repository, digest: notice.digest }, gone);
      return;
    }
    listings.forget(repository);
    for (const reference of notice.references) await manifests.pushed({ repository, reference }, gone);
  }

  touch(keys: readonly IndexKey[]): void {
    for (const key of keys) this.#parts.index.touch(key);
  }

  audit(entries: readonly AuditEntry[]): void {
    this.#parts.audit(entries);
  }

  used(usage: Usage): void {
    this.#events.used(usage);
  }

  tell(event: KeeperEvent): void {
    this.#listener(event);
  }

  tellProgress(progress: FillProgress): void {
    if (!this.#followed.has(progress.fillId)) return;
    if (progress.state.kind !== 'running') this.#followed.delete(progress.fillId);
    this.#listener({ kind: 'fill', progress });
  }

  close(): void {
    for (const ticket of this.#bypasses.keys()) this.closeBypass(ticket);
    this.#events.ended();
  }
}
