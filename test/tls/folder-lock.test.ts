import { readdir, readlink, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { ms } from '../../src/lib/brand.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { withFolderLock } from '../../src/tls/folder-lock.ts';

const LOCK = '.certificates.lock';

/** Sleeping takes no time, but moves the clock; `whileAsleep` is what others do meanwhile. */
function sleepless(whileAsleep: (monotonic: number) => Promise<void> = async () => undefined): Clock {
  let monotonic = 0;
  return {
    now: () => systemClock.now(),
    monotonic: () => ms(monotonic),
    sleep: async (duration) => {
      monotonic += duration;
      await whileAsleep(monotonic);
    },
  };
}

void t.test('one at a time, and nothing stays behind', async (t) => {
  const folder = t.testdir();
  let inside = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    inside += 1;
    most = Math.max(most, inside);
    await readdir(folder);
    inside -= 1;
  };
  await Promise.all(Array.from({ length: 20 }, () => withFolderLock(folder, systemClock, work)));
  t.equal(most, 1);
  t.same(await readdir(folder), []);
});

void t.test('it is given back when the work fails', async (t) => {
  const folder = t.testdir();
  await t.rejects(
    withFolderLock(folder, systemClock, () => Promise.reject(new Error('broken'))),
    { message: 'broken' },
  );
  t.same(await readdir(folder), []);
});

void t.test('a lock that a crash left is taken after ten seconds, not earlier', async (t) => {
  const folder = t.testdir();
  await symlink('somebody', join(folder, LOCK));
  let waited = 0;
  const clock = sleepless(async (monotonic) => {
    waited = monotonic;
    if (monotonic < 10_000 && (await readlink(join(folder, LOCK))) !== 'somebody')
      t.fail(`gone at ${monotonic}`);
  });
  t.equal(await withFolderLock(folder, clock, async () => 'done'), 'done');
  t.ok(waited >= 10_000 && waited < 10_100, String(waited));
  t.same(await readdir(folder), []);
});

void t.test('a lock that changes hands is not taken for abandoned', async (t) => {
  const folder = t.testdir();
  const file = join(folder, LOCK);
  await symlink('first', file);
  let waited = 0;
  const clock = sleepless(async (monotonic) => {
    waited = monotonic;
    if (monotonic !== 8000) return;
    await rm(file);
    await symlink('second', file);
  });
  await withFolderLock(folder, clock, async () => undefined);
  t.ok(waited >= 18_000, String(waited));
});

void t.test('who was taken for dead does not remove the lock of who came after', async (t) => {
  const folder = t.testdir();
  const file = join(folder, LOCK);
  await withFolderLock(folder, systemClock, async () => {
    await rm(file);
    await symlink('next', file);
  });
  t.equal(await readlink(file), 'next');
});

void t.test(
  'a folder that is not there, or a file in the place of the lock, is an error in words',
  async (t) => {
    const folder = t.testdir({ [LOCK]: 'a file' });
    const work = async (): Promise<void> => undefined;
    await t.rejects(withFolderLock(join(folder, 'no'), systemClock, work), {
      name: 'CertificateError',
      message: /ENOENT/,
    });
    await t.rejects(withFolderLock(folder, systemClock, work), {
      name: 'CertificateError',
      message: /remove it/,
    });
  },
);
