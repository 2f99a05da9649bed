import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Options } from '../options.ts';
import type { Row } from './rows.ts';
import type { Invalid } from './table.ts';

export interface Results {
  readonly startedAt: Date;
  readonly options: Options;
  readonly versions: Readonly<Record<string, string>>;
  readonly rows: readonly Row[];
  readonly invalid: readonly Invalid[];
}

/** Writes every sample, not only the medians, with what is needed to judge them. Returns the file. */
export async function writeResults(folder: string, results: Results): Promise<string> {
  const file = join(folder, `${results.startedAt.toISOString().slice(0, 19).replaceAll(':', '')}.json`);
  const machine = {
    cpu: cpus()[0]?.model ?? '?',
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
  };
  await mkdir(folder, { recursive: true });
  await writeFile(file, `${JSON.stringify({ ...results, machine }, undefined, 2)}\n`);
  return file;
}
