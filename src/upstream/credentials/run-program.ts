import { spawn, type ChildProcess } from 'node:child_process';
import { seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';

export const PROGRAM_TIMEOUT = seconds(10);
export const MAX_OUTPUT_BYTES = 64 * 1024;
const MAX_COMPLAINT = 200;

export interface Program {
  /** Found on the `PATH` of `env` unless it holds a slash. No shell reads it. */
  readonly file: string;
  readonly args: readonly string[];
  /** The whole environment of the program. */
  readonly env: Readonly<Record<string, string>>;
  /** What it reads on its standard input. */
  readonly input: string;
}

export type ProgramEnd =
  | { readonly kind: 'done'; readonly code: number; readonly output: string; readonly complaint: string }
  | { readonly kind: 'missing' | 'timeout' | 'too long' | 'killed'; readonly why: string };

/**
 * Runs a program to its end, without a shell and in a process group of its own, which is killed when it takes too long,
 * says too much, or is not wanted any more, and when it ends, so that nothing that it started outlives it.
 */
export async function runProgram(program: Program, clock: Clock, signal: AbortSignal): Promise<ProgramEnd> {
  const { promise, resolve } = Promise.withResolvers<ProgramEnd>();
  const over = new AbortController();
  // Without free file descriptors it comes back with no streams at all, whatever the narrower type says.
  const child: ChildProcess = spawn(program.file, program.args, {
    env: program.env,
    cwd: '/',
    detached: true,
  });
  const give = (end: ProgramEnd): void => {
    killGroup(child);
    // Whoever left the group may still hold the other ends.
    child.stdout?.destroy();
    child.stderr?.destroy();
    resolve(end);
  };
  const output: Buffer[] = [];
  let complaint = Buffer.alloc(0);
  let size = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    output.push(chunk);
    size += chunk.byteLength;
    if (size > MAX_OUTPUT_BYTES)
      give({ kind: 'too long', why: `printed more than ${MAX_OUTPUT_BYTES} bytes` });
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    if (complaint.byteLength < MAX_COMPLAINT) complaint = Buffer.concat([complaint, chunk]);
  });
  child.once('error', (error) => give({ kind: 'missing', why: whyNotStarted(error) }));
  child.once('exit', () => killGroup(child));
  child.once('close', (code, by) =>
    give(
      code === null
        ? { kind: 'killed', why: `was ended by ${by}` }
        : { kind: 'done', code, output: Buffer.concat(output).toString(), complaint: firstLine(complaint) },
    ),
  );
  const abort = (): void => give({ kind: 'killed', why: 'is not wanted any more' });
  signal.addEventListener('abort', abort, { once: true });
  clock
    .sleep(PROGRAM_TIMEOUT, over.signal)
    .then(() => give({ kind: 'timeout', why: `did not end within ${PROGRAM_TIMEOUT / 1000} s` }))
    // Only the abort rejects: the program has ended.
    .catch(() => undefined);
  // A program that does not read its input closes it: no fault of ours.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(program.input);
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', abort);
    over.abort();
  }
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // Nobody is left in it.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function whyNotStarted(error: Error): string {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return 'is not there: install it, or mend the PATH of the edge';
  if (code === 'EACCES') return 'may not be run by this user: mend its permissions';
  return `cannot be started (${String(code)})`;
}

/** Of what it said on its standard error, fit for a log line. */
function firstLine(text: Buffer): string {
  const [line = ''] = text.toString().trim().split('\n', 1);
  return line.replace(/\p{C}/gu, ' ').slice(0, MAX_COMPLAINT).trim();
}
