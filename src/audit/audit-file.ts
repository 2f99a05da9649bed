import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { CHAIN_START, readLine, type ChainEnd } from './audit-chain.ts';
import type { AuditSink } from './audit-log.ts';

/** Longer than any line. */
const TAIL_BYTES = 64 * 1024;
const NEWLINE = 10;
const FLAGS = constants.O_APPEND | constants.O_CREAT | constants.O_RDWR | constants.O_NOFOLLOW;

/** The file holds something else than an audit log. */
export class NotAnAuditLog extends Error {
  override readonly name = 'NotAnAuditLog';
}

/** Appends to a file, 0600, and goes on with the chain that it finds there. Nothing that stands there is ever changed. */
export class AuditFile implements AuditSink {
  readonly #path: string;
  #file: FileHandle;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** @throws {NotAnAuditLog}, or what the system says. */
  static async open(path: string): Promise<{ sink: AuditFile; end: ChainEnd }> {
    const file = await open(path, FLAGS, 0o600);
    try {
      // Whoever should read from it could hold up every line.
      if ((await file.stat()).isFIFO())
        throw new NotAnAuditLog(`${path} is a pipe: name a file, stdout or syslog`);
      const { end, torn } = await lastLine(file, path);
      // A crash in the middle of a line: what comes now must not be taken for its rest.
      if (torn) await file.write(Buffer.of(NEWLINE));
      return { sink: new AuditFile(path, file), end };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async write(bytes: Uint8Array): Promise<number> {
    const { bytesWritten } = await this.#file.write(bytes);
    return bytesWritten;
  }

  async reopen(): Promise<void> {
    const opened = await open(this.#path, FLAGS, 0o600);
    const old = this.#file;
    this.#file = opened;
    await old.close();
  }

  async close(): Promise<void> {
    await this.#file.sync();
    await this.#file.close();
  }
}

async function lastLine(file: FileHandle, path: string): Promise<{ end: ChainEnd; torn: boolean }> {
  const { size } = await file.stat();
  const tail = Buffer.alloc(Math.min(size, TAIL_BYTES));
  await file.read(tail, 0, tail.byteLength, size - tail.byteLength);
  const torn = tail.byteLength > 0 && tail.at(-1) !== NEWLINE;
  const lines = tail.toString('utf8').split('\n').filter(Boolean);
  if (torn) lines.pop();
  const last = lines.at(-1);
  const end = last === undefined ? CHAIN_START : readLine(last)?.end;
  if (end === undefined)
    throw new NotAnAuditLog(`${path} does not end like an audit log: move it away, or name another file`);
  return { end, torn };
}
