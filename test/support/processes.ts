import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { finished } from 'node:stream/promises';
import { atExit } from './at-exit.ts';
import { eventually, NeverError } from './eventually.ts';

export interface ProcessOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

export interface StartOptions extends ProcessOptions {
  /** Asked again and again until it says true: the program serves. Without it, the program is ready at once. */
  readonly ready?: (running: RunningProcess) => boolean | Promise<boolean>;
  /** How long the program may take to get ready; 20 s by default. */
  readonly readyWithinMs?: number;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What is kept of each output stream: the end of it, so that a chatty program cannot fill the memory. */
const KEPT_OUTPUT = 64 * 1024 * 1024;

/** Of util-linux: has the kernel end the child when this process is killed and cannot do so itself. */
const SETPRIV = '/usr/bin/setpriv';

/** A child process with its output. It ends with {@link stop}, and at the latest with this process. */
export class RunningProcess implements AsyncDisposable {
  readonly exited: Promise<Exit>;
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #stdout = new Output();
  readonly #stderr = new Output();

  constructor(command: string, args: readonly string[], options: ProcessOptions = {}) {
    const [program, ...rest] = existsSync(SETPRIV)
      ? [SETPRIV, '--pdeathsig', 'KILL', '--', command, ...args]
      : [command, ...args];
    const child = spawn(program, rest, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    child.stdout?.on('data', (chunk: Buffer) => this.#stdout.add(chunk));
    child.stderr?.on('data', (chunk: Buffer) => this.#stderr.add(chunk));
    const release = atExit(() => void child.kill('SIGKILL'));
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => {
        this.#stderr.add(Buffer.from(`${command}: ${error.message}\n`));
        if (child.pid === undefined) resolve({ code: 127, signal: null });
      });
      // 'close' and not 'exit': only then is the whole output here.
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    child.once('exit', release);
    if (child.pid === undefined) release();
    this.pid = child.pid ?? 0;
  }

  /** False from the moment that the program has ended. */
  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get stdout(): string {
    return this.#stdout.text();
  }

  get stderr(): string {
    return this.#stderr.text();
  }

  /** The last lines of everything that it wrote, for a message. */
  get lastWords(): string {
    return `${this.stdout}${this.stderr}`.split('\n').slice(-40).join('\n');
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#child.kill(signal);
  }

  /** Asks the program to end with SIGTERM and, when it has not after `graceMs`, ends it. Harmless when it has ended. */
  async stop(graceMs = 10_000): Promise<Exit> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  async kill(): Promise<Exit> {
    this.signal('SIGKILL');
    return await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/**
 * Starts a program and waits until it is ready.
 * @throws {Error} with the program's output, when it ends before it is ready or is not ready in time; it is ended then.
 */
export async function startProcess(
  command: string,
  args: readonly string[],
  options: StartOptions = {},
): Promise<RunningProcess> {
  const { ready, readyWithinMs = 20_000, ...rest } = options;
  const running = new RunningProcess(command, args, rest);
  try {
    await eventually(
      async () => {
        if (!running.running) {
          const { code, signal } = await running.exited;
          throw new NeverError(
            `${command} ended at once (${signal ?? `code ${code}`}):\n${running.lastWords}`,
          );
        }
        return ready === undefined || (await ready(running));
      },
      { timeoutMs: readyWithinMs, what: () => `${command} is ready; it said:\n${running.lastWords}` },
    );
    return running;
  } catch (error) {
    await running.kill();
    throw error;
  }
}

export interface Finished extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; a code other than 0 is an answer, not an exception. It is ended after `timeoutMs`. */
export async function runProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions & { readonly timeoutMs?: number } = {},
): Promise<Finished> {
  const { timeoutMs = 120_000, ...rest } = options;
  const running = new RunningProcess(command, args, rest);
  const timer = setTimeout(() => running.signal('SIGKILL'), timeoutMs);
  try {
    const exit = await running.exited;
    return { ...exit, stdout: running.stdout, stderr: running.stderr };
  } finally {
    clearTimeout(timer);
  }
}

/** True when something accepts connections there. */
export async function portAnswers(port: number, host = '127.0.0.1'): Promise<boolean> {
  const socket = connect({ port, host });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
    await finished(socket).catch(() => undefined);
  }
}

class Output {
  #chunks: Buffer[] = [];
  #size = 0;

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.byteLength;
    while (this.#size > KEPT_OUTPUT) this.#size -= this.#chunks.shift()?.byteLength ?? 0;
  }

  text(): string {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]?.toString('utf8') ?? '';
  }
}
