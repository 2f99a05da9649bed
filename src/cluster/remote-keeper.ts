import type { AuditEntry } from '../audit/audit-entry.ts';
import type { Usage } from '../lib/limits/usage.ts';
import type {
  BlobAnswer,
  BlobQuestion,
  BlobSizeAnswer,
  BypassQuestion,
  IndexKey,
  Keeper,
  ListingAnswer,
  ListingQuestion,
  ManifestAnswer,
  ManifestQuestion,
  PushNotice,
  VerdictAnswer,
  VerdictQuestion,
} from '../cache/keeper.ts';
import type { Digest } from '../oci/digest.ts';
import type { AnswerOf, ArgumentOf, Question, WorkerMessage } from './messages.ts';

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** The keeper as a worker of a cluster has it: every question is a message, every answer comes back by its number. */
export class RemoteKeeper implements Keeper {
  readonly #send: (message: WorkerMessage) => void;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  constructor(send: (message: WorkerMessage) => void) {
    this.#send = send;
  }

  /** The keeper's answers come in here. */
  answered(id: number, value: unknown): void {
    this.#take(id)?.resolve(value);
  }

  failed(id: number, message: string): void {
    this.#take(id)?.reject(new Error(message));
  }

  manifest(question: ManifestQuestion): Promise<ManifestAnswer> {
    return this.#ask('manifest', question);
  }

  blob(question: BlobQuestion): Promise<BlobAnswer> {
    return this.#ask('blob', question);
  }

  blobSize(question: BlobQuestion): Promise<BlobSizeAnswer> {
    return this.#ask('blobSize', question);
  }

  listing(question: ListingQuestion): Promise<ListingAnswer> {
    return this.#ask('listing', question);
  }

  openBypass(question: BypassQuestion): Promise<number | undefined> {
    return this.#ask('openBypass', question);
  }

  readBypass(ticket: number): Promise<Uint8Array | undefined> {
    return this.#ask('readBypass', ticket);
  }

  closeBypass(ticket: number): void {
    this.#send({ type: 'closeBypass', ticket });
  }

  suspect(digest: Digest): Promise<void> {
    return this.#ask('suspect', digest);
  }

  verdict(question: VerdictQuestion): Promise<VerdictAnswer> {
    return this.#ask('verdict', question);
  }

  pushed(notice: PushNotice): Promise<void> {
    return this.#ask('pushed', notice);
  }

  touch(keys: readonly IndexKey[]): void {
    this.#send({ type: 'touch', keys });
  }

  audit(entries: readonly AuditEntry[]): void {
    this.#send({ type: 'audit', entries });
  }

  used(usage: Usage): void {
    this.#send({ type: 'used', usage });
  }

  #ask<Q extends Question>(question: Q, argument: ArgumentOf<Q>): Promise<AnswerOf<Q>> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      // Both ends are of one build, so an answer has the type of its question.
      this.#waiting.set(id, { resolve, reject });
      this.#send({ type: 'ask', id, question, argument });
    });
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }
}
