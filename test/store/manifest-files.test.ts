import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { digestOf } from '../../src/oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../src/oci/manifest.ts';
import { parseRepositoryName } from '../../src/oci/repository-name.ts';
import type { RepositoryRef } from '../../src/oci/repository-ref.ts';
import { StoreLayout } from '../../src/store/layout.ts';
import { ManifestFiles, type StoredManifest } from '../../src/store/manifest-files.ts';
import { tempFolder } from '../support/temp.ts';

async function manifestFiles(t: Test): Promise<{ layout: StoreLayout; files: ManifestFiles }> {
  const layout = new StoreLayout(tempFolder(t));
  await layout.create();
  return { layout, files: new ManifestFiles(layout) };
}

function repository(text: string, upstream = 'docker.io'): RepositoryRef {
  const name = parseRepositoryName(text);
  if (name === undefined) throw new Error(`${text} is no name`);
  return { upstream, name };
}

function stored(text: string, content: string, algorithm: 'sha256' | 'sha512' = 'sha256'): StoredManifest {
  const bytes = Buffer.from(content);
  return { repository: repository(text), digest: digestOf(bytes, algorithm), content: bytes };
}

async function found(files: ManifestFiles): Promise<string[]> {
  const all: string[] = [];
  for await (const { repository, digest, content } of files.all()) {
    if (digestOf(content, digest.startsWith('sha512') ? 'sha512' : 'sha256') !== digest)
      throw new Error(digest);
    all.push(`${repository.upstream} ${repository.name} ${Buffer.from(content).toString()}`);
  }
  return all.toSorted();
}

void t.test('written, read, removed; in one repository and not in another', async (t) => {
  const { layout, files } = await manifestFiles(t);
  const manifest = stored('library/app', '{"a":1}');
  t.equal(await files.read(manifest.repository, manifest.digest), undefined);
  await files.write(manifest);
  await files.write(manifest);
  t.strictSame(await files.read(manifest.repository, manifest.digest), manifest.content);
  t.equal(await files.read(repository('library'), manifest.digest), undefined);
  t.equal(await files.read(repository('library/app', 'ghcr.io'), manifest.digest), undefined);
  const path = layout.manifest(manifest.repository, manifest.digest);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(statSync(dirname(path)).mode & 0o777, 0o700);
  t.strictSame(readdirSync(dirname(path)).length, 1, 'no temporary file stays');
  await files.remove(manifest.repository, manifest.digest);
  await files.remove(manifest.repository, manifest.digest);
  t.equal(await files.read(manifest.repository, manifest.digest), undefined);
});

void t.test('a write that fails leaves nothing', async (t) => {
  const { layout, files } = await manifestFiles(t);
  const manifest = stored('app', '{}');
  mkdirSync(layout.manifest(manifest.repository, manifest.digest), { recursive: true });
  await t.rejects(files.write(manifest), { code: 'EISDIR' });
  t.equal(readdirSync(layout.manifestFolder(manifest.repository)).length, 1);
});

void t.test('a copy that is not whole counts as absent', async (t) => {
  const { layout, files } = await manifestFiles(t);
  const whole = stored('app', '{"whole":true}');
  for (const damaged of [stored('app', '{"cut":1}'), stored('app', '{"changed":1}', 'sha512')])
    await files.write(damaged);
  await files.write(whole);
  truncateSync(layout.manifest(repository('app'), stored('app', '{"cut":1}').digest), 5);
  const changed = stored('app', '{"changed":1}', 'sha512');
  writeFileSync(layout.manifest(repository('app'), changed.digest), '{"changed":2}');
  t.equal(await files.read(repository('app'), stored('app', '{"cut":1}').digest), undefined);
  t.equal(await files.read(repository('app'), changed.digest), undefined);
  t.strictSame(await found(files), ['docker.io app {"whole":true}']);
  const large = stored('app', ' '.repeat(MAX_MANIFEST_BYTES + 1));
  await files.write(large);
  t.equal(await files.read(large.repository, large.digest), undefined);
});

void t.test('links, pipes and folders under its name are not read', async (t) => {
  const { layout, files } = await manifestFiles(t);
  const target = stored('app', '{"target":1}');
  await files.write(target);
  const path = layout.manifest(target.repository, target.digest);
  renameSync(path, `${path}-moved`);
  symlinkSync(`${path}-moved`, path);
  t.equal(await files.read(target.repository, target.digest), undefined);
  const folder = stored('app', '{"folder":1}');
  mkdirSync(layout.manifest(folder.repository, folder.digest));
  t.equal(await files.read(folder.repository, folder.digest), undefined);
  const pipe = stored('app', '{"pipe":1}');
  t.equal(spawnSync('/usr/bin/mkfifo', [layout.manifest(pipe.repository, pipe.digest)]).status, 0);
  t.equal(await files.read(pipe.repository, pipe.digest), undefined);
  t.strictSame(await found(files), []);
});

void t.test('all that is whole is found, repositories nest as they like', async (t) => {
  const { layout, files } = await manifestFiles(t);
  t.strictSame(await found(files), []);
  const names = [
    'a',
    'a/b',
    'a/sha256-x',
    `a/sha256-${'a'.repeat(64)}`,
    'a/manifests',
    'manifests',
    'x.y_z/1--2',
  ];
  for (const name of names) {
    await files.write(stored(name, `1 ${name}`));
    await files.write(stored(name, `2 ${name}`, 'sha512'));
  }
  const elsewhere = { ...stored('a', '1 a'), repository: repository('a', 'registry.corp:5000') };
  await files.write(elsewhere);
  const expected = names.flatMap((name) => [`docker.io ${name} 1 ${name}`, `docker.io ${name} 2 ${name}`]);
  t.strictSame(await found(files), [...expected, 'registry.corp:5000 a 1 a'].toSorted());

  const folder = layout.manifestFolder(repository('a'));
  writeFileSync(join(folder, 'README'), 'junk');
  writeFileSync(join(folder, `.${'0'.repeat(36)}`), 'the temporary file of a write that was cut off');
  writeFileSync(join(folder, `sha256-${'b'.repeat(64)}`), 'not what its name says');
  writeFileSync(join(layout.manifests, 'junk'), 'junk');
  const misplaced = join(dirname(folder), 'copies', stored('a', '1 a').digest.replace(':', '-'));
  mkdirSync(dirname(misplaced));
  writeFileSync(misplaced, '1 a');
  writeFileSync(join(layout.manifests, 'docker.io', `sha256-${'b'.repeat(64)}`), 'in no repository');
  mkdirSync(join(layout.manifests, 'docker.io', '_manifests'));
  writeFileSync(join(layout.manifests, 'docker.io', '_manifests', `sha256-${'b'.repeat(64)}`), 'of no name');
  mkdirSync(join(layout.manifests, 'docker.io', 'UPPER', '_manifests'), { recursive: true });
  const inUpper = stored('upper', 'of no valid name');
  writeFileSync(
    join(layout.manifests, 'docker.io', 'UPPER', '_manifests', inUpper.digest.replace(':', '-')),
    'of no valid name',
  );
  symlinkSync(folder, join(layout.manifests, 'docker.io', 'linked'));
  t.strictSame(
    await found(files),
    [...expected, 'registry.corp:5000 a 1 a'].toSorted(),
    'junk is passed over',
  );
});
