import { write, writeSync } from 'node:fs';

/** Several processes write to one pipe: what is written at once stays whole up to this (PIPE_BUF, POSIX write(2)). */
const ATOMIC_BYTES = 4096;
/** What waits for a reader that does not read; lines that come on top are dropped. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;
const RETRY_MS = 50;
const LAST_TRIES = 20;
/** Lines that are written and still in the list. */
const MAX_WRITTEN = 1000;
const EMPTY = Buffer.alloc(0);

/**
 * Lines to a file descriptor, written behind and in order. A reader that is slow costs lines, one that is gone costs
 * all of them; neither ever costs a request, memory without bound, or the end of the process.
 */
export class LineWriter {
  readonly #fd: number;
  #waiting: Buffer[] = [];
  /** Of the first that is not written: to take each off the front would move all others. */
  #first = 0;
  #waitingBytes = 0;
  #writing = false;
  #gone = false;
  #dropped = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** False: nobody takes it. */
  write(line: string): boolean {
    if (this.#gone || this.#waitingBytes > MAX_WAITING_BYTES) {
      this.#dropped += 1;
      return false;
    }
    const bytes = Buffer.from(line);
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.byteLength;
    if (!this.#writing) this.#next();
    return true;
  }

  /** Writes the rest at once, as far as it is taken; for the end of the process. */
  flushSync(): void {
    for (let tries = 0; this.#left > 0 && tries < LAST_TRIES && !this.#gone;) {
      const batch = this.#batch();
      try {
        this.#written(writeSync(this.#fd, batch), batch);
      } catch (error) {
        if (!isBusy(error)) return;
        tries += 1;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS / 10);
      }
    }
  }

  #next(): void {
    if (this.#left === 0 || this.#gone) {
      this.#writing = false;
      return;
    }
    this.#writing = true;
    const batch = this.#batch();
    write(this.#fd, batch, 0, batch.byteLength, null, (error, count) => {
      if (error === null) {
        this.#written(count, batch);
        this.#next();
      } else if (isBusy(error)) setTimeout(() => this.#next(), RETRY_MS).unref();
      else this.#giveUp();
    });
  }

  /** As many whole lines as fit into one atomic write; a longer line goes alone. */
  #batch(): Buffer {
    let size = 0;
    let end = this.#first;
    for (; end < this.#waiting.length; end += 1) {
      const { byteLength } = this.#waiting[end] ?? EMPTY;
      if (end > this.#first && size + byteLength > ATOMIC_BYTES) break;
      size += byteLength;
    }
    return Buffer.concat(this.#waiting.slice(this.#first, end), size);
  }

  #written(count: number, batch: Buffer): void {
    for (let left = batch.byteLength; left > 0; this.#first += 1)
      left -= this.#waiting[this.#first]?.byteLength ?? left;
    this.#waitingBytes -= count;
    // A regular file or a blocking pipe takes all of it; what a non-blocking one left goes first the next time.
    if (count < batch.byteLength) {
      this.#first -= 1;
      this.#waiting[this.#first] = batch.subarray(count);
    }
    if (this.#first < this.#waiting.length && this.#first < MAX_WRITTEN) return;
    this.#waiting = this.#waiting.slice(this.#first);
    this.#first = 0;
    if (this.#dropped > 0 && this.#left === 0) this.#tellDropped();
  }

  get #left(): number {
    return this.#waiting.length - this.#first;
  }

  /** Somebody reads again. */
  #tellDropped(): void {
    const dropped = this.#dropped;
    this.#dropped = 0;
    this.write(`${JSON.stringify({ level: 'warn', dropped, msg: 'log lines dropped: nobody read them' })}\n`);
  }

  #giveUp(): void {
    this.#gone = true;
    this.#waiting = [];
    this.#first = 0;
    this.#waitingBytes = 0;
    this.#writing = false;
  }
}

function isBusy(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'EAGAIN' || code === 'EBUSY';
}
