import { randomUUID } from 'node:crypto';
import { readlink, rename, symlink, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, orExplain } from './certificate-error.ts';
import { ms, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';

const POLL = ms(20);
/** The work under the lock takes milliseconds: a lock that stays the same for this long was left by a crash. */
const ABANDONED_AFTER = ms(10_000);

/**
 * Runs `work` while no other process runs its own for the same folder. Node offers no flock(2); the lock is a symbolic
 * link to a random name, which is made with its content in one step, and fails when there is one. How old another's
 * lock is, is measured by waiting, not from its time stamp: wall clocks jump, and differ between hosts.
 * @throws CertificateError when the folder cannot be written to.
 */
export async function withFolderLock<T>(folder: string, clock: Clock, work: () => Promise<T>): Promise<T> {
  const file = join(folder, '.certificates.lock');
  // The clock's sleep holds no process: on start nothing else may be open yet, and Node would exit while it waits.
  const awake = setInterval(() => undefined, 60_000);
  const own = await orExplain(file, 'made', acquire(file, clock)).finally(() => clearInterval(awake));
  try {
    return await work();
  } finally {
    // It is not ours any more when somebody took it for abandoned.
    if ((await ownerOf(file)) === own) await unlink(file);
  }
}

async function acquire(file: string, clock: Clock): Promise<string> {
  const own = `${process.pid}-${randomUUID()}`;
  let seen: { owner: string; since: Milliseconds } | undefined;
  while (!(await create(file, own))) {
    const owner = await ownerOf(file);
    if (owner === undefined) continue;
    if (owner !== seen?.owner) seen = { owner, since: clock.monotonic() };
    else if (clock.monotonic() - seen.since >= ABANDONED_AFTER) await takeAway(file, owner);
    await clock.sleep(POLL);
  }
  return own;
}

async function create(file: string, owner: string): Promise<boolean> {
  try {
    await symlink(owner, file);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

async function ownerOf(file: string): Promise<string | undefined> {
  try {
    return await readlink(file);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Moved aside first: when another waiter was faster, what moved is its new lock, and goes back. */
async function takeAway(file: string, abandoned: string): Promise<void> {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  const moved = await readlink(aside);
  if (moved !== abandoned) await create(file, moved);
  await unlink(aside);
}
