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

/** Lines go where the program's own log goes. */
export class AuditStdout implements AuditSink {
  readonly #write: (line: string) => void;

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  write(bytes: Uint8Array): Promise<number> {
    this.#write(Buffer.from(bytes).toString('utf8'));
    return Promise.resolve(bytes.byteLength);
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

  async close(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    await new Promise<void>((resolve) => {
      child.once('close', () => resolve());
      child.stdin?.end();
    });
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
