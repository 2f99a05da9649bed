import { spawnSync } from 'node:child_process';
import { existsSync, type Stats } from 'node:fs';
import { lstat, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../lib/clock.ts';
import { parseDigest, type Digest } from '../oci/digest.ts';
import { blobKey, type BlobIndex } from './blob-index.ts';
import { EmbeddedStore } from './embedded-store.ts';
import type { StoreLayout } from './layout.ts';

/** Long enough to read some gigabytes of records once; a probe that hangs counts as a damaged store. */
const PROBE_TIMEOUT_MS = 60_000;

export interface OpenedMetadata {
  readonly store: EmbeddedStore;
  /** Where damaged metadata was put, for a look. */
  readonly quarantined: string | undefined;
}

/**
 * Opens the metadata for the keeper. After an unclean end a child process reads all of it first, since a page that
 * is missing from a memory-mapped file kills the process that touches it; what does not survive is set aside.
 */
export async function openMetadata(layout: StoreLayout, clock: Clock): Promise<OpenedMetadata> {
  const wasThere = existsSync(join(layout.meta, 'data.mdb'));
  let quarantined: string | undefined;
  const setAside = async (): Promise<void> => {
    quarantined = join(layout.quarantine, `meta-${clock.now()}`);
    await rename(layout.meta, quarantined);
    await mkdir(layout.meta, { mode: 0o700 });
  };
  if (wasThere && existsSync(layout.runningMarker) && !survivesProbe(layout.meta)) await setAside();
  // Made anew: written to, a link under its name would have its target emptied (CVE-2016-1247).
  await rm(layout.runningMarker, { force: true });
  await writeFile(layout.runningMarker, `${process.pid}\n`, { mode: 0o600, flag: 'wx' });
  try {
    const store = new EmbeddedStore(layout.meta, { clock });
    return { store, quarantined };
  } catch (error) {
    if (!wasThere || quarantined !== undefined) throw error;
    await setAside();
    return { store: new EmbeddedStore(layout.meta, { clock }), quarantined };
  }
}

/** Says that this run ended by itself and left whole metadata behind. */
export async function markCleanEnd(layout: StoreLayout): Promise<void> {
  await rm(layout.runningMarker, { force: true });
}

function survivesProbe(folder: string): boolean {
  const probe = fileURLToPath(
    new URL(import.meta.url.endsWith('.ts') ? './probe.ts' : './probe.js', import.meta.url),
  );
  return (
    spawnSync(process.execPath, [probe, folder], { stdio: 'ignore', timeout: PROBE_TIMEOUT_MS }).status === 0
  );
}

/**
 * Makes the index agree with the files, which are the truth: a blob that it does not know is added as just used, an
 * entry without a file is dropped. Walks one folder at a time, in the background, whatever the number of blobs.
 */
export async function reconcile(
  layout: StoreLayout,
  index: BlobIndex,
): Promise<{ added: number; dropped: number }> {
  const known = new Map<string, Digest[]>();
  for (const { kind, digest } of index.all()) {
    if (kind !== 'blob') continue;
    const folder = layout.blobFolder(digest);
    const digests = known.get(folder);
    if (digests === undefined) known.set(folder, [digest]);
    else digests.push(digest);
  }
  let added = 0;
  let dropped = 0;
  for (const algorithm of await foldersIn(layout.blobs)) {
    for (const prefix of await foldersIn(join(layout.blobs, algorithm))) {
      const folder = join(layout.blobs, algorithm, prefix);
      const here = new Set((await readdir(folder)).map((hex) => parseDigest(`${algorithm}:${hex}`)));
      for (const digest of here)
        if (digest !== undefined && (await addUnknown(layout, index, digest))) added += 1;
      for (const digest of known.get(folder) ?? [])
        if (!here.has(digest)) dropped += await dropGone(layout, index, digest);
      known.delete(folder);
    }
  }
  for (const digest of [...known.values()].flat()) dropped += await dropGone(layout, index, digest);
  return { added, dropped };
}

/** Files that somebody put between the folders of the store are no reason not to start. */
async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

async function addUnknown(layout: StoreLayout, index: BlobIndex, digest: Digest): Promise<boolean> {
  if (index.has(blobKey(digest))) return false;
  const stats = await statIfThere(layout.blob(digest));
  if (stats === undefined || !stats.isFile() || index.has(blobKey(digest))) return false;
  await index.add(blobKey(digest), stats.size);
  return true;
}

/** Looks again: the folder was listed a moment ago, and a fill may have committed since. */
async function dropGone(layout: StoreLayout, index: BlobIndex, digest: Digest): Promise<number> {
  if (!index.has(blobKey(digest)) || (await statIfThere(layout.blob(digest))) !== undefined) return 0;
  await index.remove(blobKey(digest));
  return 1;
}

async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
