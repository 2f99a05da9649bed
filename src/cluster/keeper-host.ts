import type { KeeperSession } from '../cache/keeper-core.ts';
import type {
  BlobQuestion,
  BypassQuestion,
  ListingQuestion,
  ManifestQuestion,
  PushNotice,
  VerdictQuestion,
} from '../cache/keeper.ts';
import type { Digest } from '../oci/digest.ts';
import type { KeeperMessage, Question, WorkerMessage } from './messages.ts';

/** Answers one worker's messages out of its session. */
export class KeeperHost<Settings> {
  readonly #session: KeeperSession;
  readonly #send: (message: KeeperMessage<Settings>) => void;

  constructor(session: KeeperSession, send: (message: KeeperMessage<Settings>) => void) {
    this.#session = session;
    this.#send = send;
  }

  /** Takes what is about the cache; false for a message that is about the worker itself. */
  take(message: WorkerMessage): boolean {
    switch (message.type) {
      case 'ask':
        void this.#answer(message.id, message.question, message.argument);
        return true;
      case 'touch':
        this.#session.touch(message.keys);
        return true;
      case 'audit':
        this.#session.audit(message.entries);
        return true;
      case 'used':
        this.#session.used(message.usage);
        return true;
      case 'closeBypass':
        this.#session.closeBypass(message.ticket);
        return true;
      case 'ready':
      case 'reloaded':
      case 'failed':
      case 'metrics':
        return false;
    }
  }

  close(): void {
    this.#session.close();
  }

  async #answer(id: number, question: Question, argument: unknown): Promise<void> {
    try {
      this.#send({ type: 'answer', id, value: await this.#ask(question, argument) });
    } catch (error) {
      this.#send({ type: 'failure', id, message: error instanceof Error ? error.message : String(error) });
    }
  }

  /** Both ends are of one build, so an argument has the type of its question. */
  #ask(question: Question, argument: unknown): Promise<unknown> {
    const session = this.#session;
    switch (question) {
      case 'manifest':
        return session.manifest(argument as ManifestQuestion);
      case 'blob':
        return session.blob(argument as BlobQuestion);
      case 'blobSize':
        return session.blobSize(argument as BlobQuestion);
      case 'listing':
        return session.listing(argument as ListingQuestion);
      case 'openBypass':
        return session.openBypass(argument as BypassQuestion);
      case 'readBypass':
        return session.readBypass(argument as number);
      case 'suspect':
        return session.suspect(argument as Digest);
      case 'pushed':
        return session.pushed(argument as PushNotice);
      case 'verdict':
        return session.verdict(argument as VerdictQuestion);
    }
  }
}
