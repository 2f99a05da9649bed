import { spawn, type ChildProcess } from 'node:child_process';
import type { AuditSink } from './audit-log.ts';

/** Of util-linux and every syslog: reads lines and hands each to the system's log. */
const LOGGER = [
  'logger',
  '--tag',
  'pierhead-audit',
  '--priority',
  'authpriv.notice',
  '--size',
  '65536',
] as const;

const LAST_WORDS_MS = 2000;
const NEWLINE = 10;

/** Lines go where the program's own log goes, one by one: several at once could be torn by those of other processes. */
export class AuditStdout implements AuditSink {
  readonly #write: (line: string) => boolean;

  /** `write` is false where nobody reads. */
  constructor(write: (line: string) => boolean) {
    this.#write = write;
  }

  async write(bytes: Uint8Array): Promise<number> {
    let taken = 0;
    while (taken < bytes.byteLength) {
      const end = bytes.indexOf(NEWLINE, taken) + 1 || bytes.byteLength;
      if (!this.#write(Buffer.from(bytes.subarray(taken, end)).toString('utf8'))) break;
      taken = end;
    }
    if (taken === 0) throw new Error('nobody reads standard output');
    return taken;
  }

  reopen(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/**
 * The system's log, through `logger`: Node has no datagram sockets of the kind that `/dev/log` is. Whoever ends it
 * costs what it had not passed on; the next line starts another.
 */
export class AuditSyslog implements AuditSink {
  #child: ChildProcess | undefined;

  write(bytes: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      const child = this.#running();
      const failed = (error: Error): void => {
        this.#child = undefined;
        reject(error);
      };
      child.once('error', failed);
      child.stdin?.write(bytes, (error) => {
        child.removeListener('error', failed);
        if (error === null || error === undefined) resolve(bytes.byteLength);
        else failed(error);
      });
    });
  }

  reopen(): Promise<void> {
    return Promise.resolve();
  }

  /** What a `logger` that hangs has not taken by then is lost. */
  async close(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const cut = setTimeout(() => child.kill('SIGKILL'), LAST_WORDS_MS);
    await new Promise<void>((resolve) => {
      child.once('close', () => resolve());
      child.stdin?.end();
    });
    clearTimeout(cut);
  }

  #running(): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    const [command, ...args] = LOGGER;
    const child = spawn(command, args, { stdio: ['pipe', 'ignore', 'ignore'] });
    this.#child = child;
    child.on('close', () => {
      if (this.#child === child) this.#child = undefined;
    });
    // Without a listener an error of a stream ends the process; the write that met it says so.
    child.stdin?.on('error', () => child.kill());
    return child;
  }
}
