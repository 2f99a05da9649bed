import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { ClientFile } from '../../src/client-files/client-edge.ts';
import { writeClientFiles } from '../../src/client-files/write-files.ts';
import { tempFolder } from '../support/temp.ts';

const CONF: ClientFile = { path: '/etc/client/conf.d/50-pierhead.conf', content: 'ours\n' };
const MERGED: ClientFile = {
  path: '/etc/client/shared.json',
  content: 'ours\n',
  merge: (existing) => {
    if (existing === 'broken') return { problem: 'is broken' };
    return { content: existing.includes('ours') ? existing : `${existing}ours\n` };
  },
};
const DAMP = { force: false };

async function modeOf(file: string): Promise<number> {
  return (await lstat(file)).mode & 0o7777;
}

void t.test('files and folders that every daemon may read, whatever the umask', async (t) => {
  const root = join(tempFolder(t), 'new/root');
  const umask = process.umask(0o077);
  t.teardown(() => process.umask(umask));
  const written = await writeClientFiles(root, [CONF, MERGED], DAMP);
  t.same(
    written,
    [CONF, MERGED].map(({ path }) => ({ file: join(root, path), outcome: 'written' })),
  );
  t.equal(await readFile(join(root, CONF.path), 'utf8'), 'ours\n');
  t.equal(await modeOf(join(root, CONF.path)), 0o644);
  for (const folder of ['', 'etc', 'etc/client', 'etc/client/conf.d'])
    t.equal(await modeOf(join(root, folder)), 0o755, folder);
  t.same(await readdir(join(root, 'etc/client/conf.d')), ['50-pierhead.conf'], 'nothing else');
  t.match(await writeClientFiles(root, [CONF, MERGED], DAMP), [
    { outcome: 'unchanged' },
    { outcome: 'unchanged' },
  ]);
  t.same(await readdir(join(root, 'etc/client')), ['conf.d', 'shared.json'], 'no copies');
});

void t.test('what can be added to is added to, with its rights, and leaves a copy', async (t) => {
  const root = tempFolder(t);
  const file = join(root, MERGED.path);
  await mkdir(join(root, 'etc/client'), { recursive: true });
  await writeFile(file, 'theirs\n', { mode: 0o600 });
  t.match(await writeClientFiles(root, [MERGED], DAMP), [{ outcome: 'merged', backup: `${file}.bak` }]);
  t.equal(await readFile(file, 'utf8'), 'theirs\nours\n');
  t.equal(await modeOf(file), 0o600);
  t.equal(await readFile(`${file}.bak`, 'utf8'), 'theirs\n');
  t.equal(await modeOf(`${file}.bak`), 0o600);
});

void t.test('what is different is refused, and then nothing at all is written', async (t) => {
  const root = tempFolder(t);
  const [conf, shared] = [join(root, CONF.path), join(root, MERGED.path)];
  const free: ClientFile = { path: '/etc/client/free', content: 'ours\n' };
  await mkdir(join(root, 'etc/client/conf.d'), { recursive: true });
  await writeFile(conf, 'theirs\n');
  await writeFile(shared, 'broken');
  const refused = writeClientFiles(root, [free, CONF, MERGED], DAMP);
  await t.rejects(refused, {
    name: 'WriteError',
    message: new RegExp(
      `^nothing was written:\n  ${conf} is there already, and different: .*--force.*\n  ${shared} is broken: `,
    ),
  });
  t.same(await readdir(join(root, 'etc/client')), ['conf.d', 'shared.json']);

  const forced = await writeClientFiles(root, [free, CONF, MERGED], { force: true });
  t.match(forced, [
    { outcome: 'written' },
    { outcome: 'replaced', backup: `${conf}.bak` },
    { outcome: 'replaced', backup: `${shared}.bak` },
  ]);
  t.equal(await readFile(conf, 'utf8'), 'ours\n');
  t.equal(await readFile(`${conf}.bak`, 'utf8'), 'theirs\n');
  await writeFile(conf, 'again\n');
  t.match(await writeClientFiles(root, [CONF], { force: true }), [{ backup: `${conf}.bak.1` }]);
  t.equal(await readFile(`${conf}.bak`, 'utf8'), 'theirs\n', 'the first copy stays');
});

void t.test('links and other things are never followed nor replaced', async (t) => {
  const root = tempFolder(t);
  const elsewhere = join(tempFolder(t), 'victim');
  await writeFile(elsewhere, 'theirs\n');
  await mkdir(join(root, CONF.path, '..'), { recursive: true });
  await symlink(elsewhere, join(root, CONF.path));
  await mkdir(join(root, MERGED.path));
  for (const force of [false, true])
    await t.rejects(writeClientFiles(root, [CONF, MERGED], { force }), {
      message: /50-pierhead\.conf is a symbolic link: move it away.*\n.*shared\.json is no file: /,
    });
  t.equal(await readFile(elsewhere, 'utf8'), 'theirs\n');
});

void t.test('a place that cannot be written: which, why and what to do', async (t) => {
  const root = tempFolder(t);
  await writeFile(join(root, 'etc'), '');
  await t.rejects(writeClientFiles(root, [CONF], DAMP), {
    name: 'WriteError',
    message: /50-pierhead\.conf cannot be written \(ENOTDIR\): a part of its path is a file/,
  });
});
