import { join } from 'node:path';
import { runProcess, type Finished } from '../support/processes.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');

/** Runs the command to its end. One that serves after all is ended after a while, and so has no exit code. */
export async function pierhead(args: readonly string[], cwd: string): Promise<Finished> {
  const env = { ...process.env, NODE_OPTIONS: '' };
  return await runProcess(process.execPath, [MAIN, ...args], { cwd, env, timeoutMs: 20_000 });
}
