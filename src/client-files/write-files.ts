import { constants } from 'node:fs';
import { chmod, copyFile, lstat, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ClientFile } from './client-edge.ts';

const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;

export interface WrittenFile {
  readonly file: string;
  readonly outcome: 'written' | 'merged' | 'replaced' | 'unchanged';
  /** A copy of what was there before. */
  readonly backup?: string;
}

/** Nothing, or not all, was written; the message says why and what to do. */
export class WriteError extends Error {
  override readonly name = 'WriteError';
}

/** What is to happen to one file. */
interface Step {
  readonly file: string;
  readonly outcome: WrittenFile['outcome'];
  readonly content: string;
  /** Of the file that is there. */
  readonly owner?: { readonly mode: number; readonly uid: number; readonly gid: number };
}

/**
 * Writes the files below `root`, which stands for the client's `/`. All of them are looked at before the first is
 * written. What is there already is kept: it is left alone when it is the same, added to where the file can be, and
 * otherwise replaced only with `force`. A file that is changed leaves a copy, `FILE.bak`.
 * @throws {WriteError}
 */
export async function writeClientFiles(
  root: string,
  files: readonly ClientFile[],
  options: { readonly force: boolean },
): Promise<WrittenFile[]> {
  const steps: Step[] = [];
  const problems: string[] = [];
  for (const file of files) {
    const step = await explained(join(root, file.path), plan(root, file, options.force));
    if (typeof step === 'string') problems.push(step);
    else steps.push(step);
  }
  if (problems.length > 0) throw new WriteError(`nothing was written:\n  ${problems.join('\n  ')}`);
  const written: WrittenFile[] = [];
  for (const step of steps) written.push(await explained(step.file, carryOut(step)));
  return written;
}

async function plan(
  root: string,
  { path, content, merge }: ClientFile,
  force: boolean,
): Promise<Step | string> {
  const file = join(root, path);
  const stats = await lstat(file).catch(absent);
  if (stats === undefined) return { file, outcome: 'written', content };
  if (!stats.isFile())
    return `${file} is ${stats.isSymbolicLink() ? 'a symbolic link' : 'no file'}: move it away, or write to another folder and put the file where it belongs`;
  const owner = { mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid };
  const existing = await readFile(file, 'utf8');
  if (existing === content) return { file, outcome: 'unchanged', content };
  const merged = merge?.(existing);
  if (merged !== undefined && 'content' in merged) {
    const outcome = merged.content === existing ? 'unchanged' : 'merged';
    return { file, outcome, content: merged.content, owner };
  }
  if (force) return { file, outcome: 'replaced', content, owner };
  const reason = merged === undefined ? 'is there already, and different' : merged.problem;
  return `${file} ${reason}: mend or move it, or replace it with --force (a copy is kept)`;
}

async function carryOut({ file, outcome, content, owner }: Step): Promise<WrittenFile> {
  if (outcome === 'unchanged') return { file, outcome };
  await makeFolder(dirname(file));
  const backup = owner === undefined ? undefined : await keepCopy(file);
  // Beside its place and renamed: a daemon that starts now reads the old file or the new one, never a half.
  const aside = join(dirname(file), `.${basename(file)}.next`);
  await rm(aside, { force: true });
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  await using handle = await open(aside, flags, 0o600);
  await handle.writeFile(content);
  if (owner !== undefined) await handle.chown(owner.uid, owner.gid);
  // A file that was there keeps its rights: it may hold what is not for everyone.
  await handle.chmod(owner?.mode ?? FILE_MODE);
  await handle.sync();
  await rename(aside, file);
  return { file, outcome, ...(backup === undefined ? {} : { backup }) };
}

/** Each with its rights whatever the umask is: the client's daemons may run as other users. */
async function makeFolder(folder: string): Promise<void> {
  if ((await lstat(folder).catch(absent)) !== undefined) return;
  await makeFolder(dirname(folder));
  await mkdir(folder);
  await chmod(folder, FOLDER_MODE);
}

/** `FILE.bak`, or the first of `FILE.bak.1`, `FILE.bak.2` … that is free: no copy replaces another. */
async function keepCopy(file: string): Promise<string> {
  for (let count = 0; ; count += 1) {
    const copy = count === 0 ? `${file}.bak` : `${file}.bak.${count}`;
    try {
      await copyFile(file, copy, constants.COPYFILE_EXCL);
      return copy;
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
  }
}

const ADVICE: Readonly<Record<string, string>> = {
  EACCES: 'this user has no right to it: run as root, or write to another folder',
  EPERM: 'this user has no right to it: run as root, or write to another folder',
  EROFS: 'the file system is read-only: write to another folder',
  ENOSPC: 'the disk is full: make room there',
  ENOTDIR: 'a part of its path is a file, not a folder',
};

async function explained<T>(file: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined) throw error;
    throw new WriteError(`${file} cannot be written (${code}): ${ADVICE[code] ?? 'the system refused it'}`, {
      cause: error,
    });
  }
}

function absent(error: unknown): undefined {
  if (codeOf(error) === 'ENOENT') return undefined;
  throw error;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
