import { mkdtempSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atExit } from './at-exit.ts';

/** Anything that runs a function after the test: `t` of tap. */
export interface Teardown {
  teardown(action: () => unknown): unknown;
}

/** A throwaway folder: `await using folder = new TempFolder()`, or {@link tempFolder} with a test. */
export class TempFolder implements AsyncDisposable {
  readonly path: string;
  readonly #release: () => void;

  constructor(name = 'pierhead') {
    this.path = mkdtempSync(join(tmpdir(), `${name}-`));
    this.#release = atExit(() => rmSync(this.path, REMOVE));
  }

  /** A path inside the folder. */
  join(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  async remove(): Promise<void> {
    await rm(this.path, REMOVE);
    this.#release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove();
  }
}

// A process that was just killed may still have a file to create: the retries see to it.
const REMOVE = { recursive: true, force: true, maxRetries: 10, retryDelay: 20 };

/** A throwaway folder that is removed after the test; returns its path. */
export function tempFolder(t: Teardown, name?: string): string {
  const folder = new TempFolder(name);
  t.teardown(() => folder.remove());
  return folder.path;
}
