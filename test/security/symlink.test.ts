import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { createImage } from '../support/images.ts';
import { tempFolder } from '../support/temp.ts';

const VICTIM = 'what belongs to somebody else\n';
const [, large] = createImage({ layers: [200_000] }).blobs;
const hex = large?.digest.slice(7) ?? '';

/** Where a file of the edge will stand, from the storage folder. */
const NAMES = [
  'running',
  'sealing.key',
  'pins.json',
  'pins.json.new',
  'control.sock',
  `partial/sha256-${hex}`,
  `blobs/sha256/${hex.slice(0, 2)}/${hex}`,
];

const PLANTS: Readonly<Record<string, (victim: string, path: string) => void>> = {
  'a symbolic link': (victim, path) => symlinkSync(victim, path),
  'a link to nothing': (victim, path) => symlinkSync(`${victim}.made`, path),
  'a FIFO': (_, path) => void spawnSync('/usr/bin/mkfifo', [path]),
};

for (const [what, plant] of Object.entries(PLANTS)) {
  void t.test(`${what} under each name of a file: neither read, nor written, nor waited for`, async (t) => {
    const dir = tempFolder(t, 'planted');
    const central = await startCentral();
    t.teardown(() => central.stop());
    const image = createImage({ layers: [200_000] });
    central.addImage('app', 'v1', image);
    const victim = join(tempFolder(t, 'victim'), 'file');
    writeFileSync(victim, VICTIM);
    // The key and the control socket are what an edge cannot do without: those are planted one at a time, below.
    for (const name of NAMES.filter((name) => name !== 'sealing.key')) {
      const path = join(dir, 'data/v1', name);
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      plant(victim, path);
    }
    const edge = await startEdge({
      dir,
      workers: 1,
      config: { upstreams: [{ name: 'central', url: central.url, default: true }] },
    });
    t.teardown(() => edge.remove());
    await get(`${edge.http}/v2/app/manifests/v1`);
    for (const { digest } of image.blobs) {
      const { status, sha256 } = await get(`${edge.http}/v2/app/blobs/${digest}`);
      t.same([status, `sha256:${sha256}`], [200, digest]);
    }
    await edge.stop();
    t.equal(readFileSync(victim, 'utf8'), VICTIM);
    t.same(readdirSync(dirname(victim)), ['file'], 'and nothing was made beside it');
  });

  void t.test(`${what} for the key: no start, and no other key`, async (t) => {
    const dir = tempFolder(t, 'planted');
    const victim = join(tempFolder(t, 'victim'), 'file');
    writeFileSync(victim, 'k'.repeat(32));
    mkdirSync(join(dir, 'data/v1'), { recursive: true, mode: 0o700 });
    plant(victim, join(dir, 'data/v1/sealing.key'));
    await t.rejects(startEdge({ dir, workers: 1 }), /sealing\.key/);
    t.equal(readFileSync(victim, 'utf8'), 'k'.repeat(32));
    t.notOk(existsSync(`${victim}.made`));
  });
}

void t.test('a hard link is not written through', async (t) => {
  const dir = tempFolder(t, 'planted');
  const central = await startCentral();
  t.teardown(() => central.stop());
  const image = createImage({ layers: [200_000] });
  central.addImage('app', 'v1', image);
  const victim = join(dir, 'victim');
  writeFileSync(victim, VICTIM);
  const names = ['running', 'pins.json.new', `partial/sha256-${hex}`];
  for (const name of names) {
    const path = join(dir, 'data/v1', name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    linkSync(victim, path);
  }
  const edge = await startEdge({
    dir,
    workers: 1,
    config: { upstreams: [{ name: 'central', url: central.url, default: true }] },
  });
  t.teardown(() => edge.remove());
  await get(`${edge.http}/v2/app/manifests/v1`);
  for (const { digest } of image.blobs)
    t.equal((await get(`${edge.http}/v2/app/blobs/${digest}`)).status, 200);
  await edge.stop();
  t.equal(readFileSync(victim, 'utf8'), VICTIM);
});

void t.test('folders of the store that others could write to are shut', async (t) => {
  const dir = tempFolder(t, 'planted');
  const folders = ['', 'blobs', 'partial', 'manifests', 'quarantine', 'meta'].map((name) =>
    join(dir, 'data/v1', name),
  );
  for (const folder of folders) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
  }
  const edge = await startEdge({ dir, workers: 1 });
  t.teardown(() => edge.remove());
  for (const folder of folders) t.equal(statSync(folder).mode & 0o777, 0o755, folder);
  await edge.stop();
  rmSync(join(dir, 'data'), { recursive: true });
});
