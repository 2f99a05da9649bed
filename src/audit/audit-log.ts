import { seconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import { AuditChain, type ChainEnd } from './audit-chain.ts';
import type { ActFacts, AuditEntry, OperatorAct } from './audit-entry.ts';

/** Lines that wait for a sink that does not take them; entries beyond are lost, and counted. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;
const BATCH_BYTES = 256 * 1024;
const RETRY = seconds(1);
const LAST_TRIES_MS = 2000;

/** Where lines go. */
export interface AuditSink {
  /** Takes some of `bytes`, from the start; resolves to how many. @throws when it takes none. */
  write(bytes: Uint8Array): Promise<number>;
  /** Begins anew at the same place, for a file that was moved away. */
  reopen(): Promise<void>;
  close(): Promise<void>;
}

export interface AuditEvents {
  /** Lines could not be written; `lost` of them never will be. */
  failed(lost: number, error: unknown): void;
}

export interface AuditLogParts {
  readonly sink: AuditSink;
  /** Where an earlier run ended, for a sink that knows. */
  readonly end?: ChainEnd | undefined;
  readonly clock: Clock;
  readonly events: AuditEvents;
}

/**
 * The record of who was let do what. It is written behind: a pull never waits for it. What the sink refuses waits and
 * is tried again; beyond a bound entries are lost, which the metrics say at once and the record itself says afterwards.
 */
export class AuditLog {
  readonly #parts: AuditLogParts;
  readonly #chain: AuditChain;
  readonly #closing = new AbortController();
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #lost = 0;
  #writing: Promise<void> | undefined;

  constructor(parts: AuditLogParts) {
    this.#parts = parts;
    this.#chain = new AuditChain(parts.end);
    this.#add(this.#own('audit.start', 'the edge started'));
  }

  add(entries: readonly AuditEntry[]): void {
    for (const entry of entries) {
      if (this.#waitingBytes > MAX_WAITING_BYTES) {
        this.#lost += 1;
        this.#parts.events.failed(1, new Error('too many lines wait to be written'));
      } else {
        if (this.#lost > 0) this.#add(this.#own('audit.lost', `${this.#lost} entries could not be written`));
        this.#lost = 0;
        this.#add(entry);
      }
    }
  }

  /** An operator did that: on this host, unless `facts` say otherwise. */
  act(action: OperatorAct, reason: string, facts: Partial<ActFacts> = {}): void {
    this.add([{ ...this.#own(action, reason), user: 'operator', ...facts }]);
  }

  /** After the file was moved away. @throws what the sink says; lines go on waiting then. */
  reopen(): Promise<void> {
    return this.#parts.sink.reopen();
  }

  /** Writes what is left, as far as it is taken soon. */
  async close(): Promise<void> {
    this.#add(this.#own('audit.stop', 'the edge stopped'));
    const { signal } = this.#closing;
    const cut = setTimeout(() => this.#closing.abort(), LAST_TRIES_MS);
    // A sink that neither takes nor refuses must not keep the edge from its end.
    const tooLate = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    await Promise.race([this.#writing, tooLate]);
    clearTimeout(cut);
    await this.#parts.sink.close();
  }

  #own(action: AuditEntry['action'], reason: string): AuditEntry {
    return {
      timestamp: new Date(this.#parts.clock.now()).toISOString(),
      action,
      user: 'pierhead',
      ip: '',
      decision: 'allow',
      reason,
      status: 0,
      bytes: 0,
      requestId: '',
    };
  }

  #add(entry: AuditEntry): void {
    const line = Buffer.from(this.#chain.line(entry));
    this.#waiting.push(line);
    this.#waitingBytes += line.byteLength;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  async #write(): Promise<void> {
    // What comes in the same turn goes out together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#batch();
      try {
        this.#written(await this.#parts.sink.write(batch));
      } catch (error) {
        this.#parts.events.failed(0, error);
        // A sleep rejects only when it is aborted: the edge ends, and with it the tries.
        const again = await this.#parts.clock.sleep(RETRY, this.#closing.signal).then(
          () => true,
          () => false,
        );
        if (!again) return;
      }
    }
  }

  #batch(): Buffer {
    let size = 0;
    let count = 0;
    while (count < this.#waiting.length && size < BATCH_BYTES)
      size += this.#waiting[count++]?.byteLength ?? 0;
    return Buffer.concat(this.#waiting.slice(0, count), size);
  }

  /** The rest of a line that was taken in part goes first the next time: no line is ever torn. */
  #written(count: number): void {
    this.#waitingBytes -= count;
    let left = count;
    while (left > 0) {
      const [line] = this.#waiting;
      if (line === undefined) return;
      if (line.byteLength > left) this.#waiting[0] = line.subarray(left);
      else this.#waiting.shift();
      left = Math.max(0, left - line.byteLength);
    }
  }
}
