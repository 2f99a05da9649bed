import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { digestOf, parseDigest, algorithmOf, type Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import { parseRepositoryName } from '../oci/repository-name.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import type { StoreLayout } from './layout.ts';

export interface StoredManifest {
  readonly repository: RepositoryRef;
  readonly digest: Digest;
  readonly content: Uint8Array;
}

/**
 * A copy of each manifest as a file under its repository, so that images stay pullable by digest when the metadata is
 * lost. Not synced: a copy that a power loss cut short fails its digest when it is read, and counts as absent.
 */
export class ManifestFiles {
  readonly #layout: StoreLayout;

  constructor(layout: StoreLayout) {
    this.#layout = layout;
  }

  async write({ repository, digest, content }: StoredManifest): Promise<void> {
    const folder = this.#layout.manifestFolder(repository);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const temporary = join(folder, `.${randomUUID()}`);
    try {
      const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
      try {
        await file.writeFile(content);
      } finally {
        await file.close();
      }
      await rename(temporary, this.#layout.manifest(repository, digest));
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** The copy, verified against its digest; undefined when it is not here or not whole. */
  async read(repository: RepositoryRef, digest: Digest): Promise<Uint8Array | undefined> {
    let file;
    try {
      // O_NONBLOCK: opening a planted FIFO must not hang.
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      file = await open(this.#layout.manifest(repository, digest), flags);
    } catch {
      // Absent or unreadable: either way this copy cannot help, and the upstream is asked.
      return undefined;
    }
    try {
      const stats = await file.stat();
      if (!stats.isFile() || stats.size > MAX_MANIFEST_BYTES) return undefined;
      const content = await file.readFile();
      return digestOf(content, algorithmOf(digest)) === digest ? content : undefined;
    } finally {
      await file.close();
    }
  }

  async remove(repository: RepositoryRef, digest: Digest): Promise<void> {
    await rm(this.#layout.manifest(repository, digest), { force: true });
  }

  /** Every copy that is whole. Read one at a time: the walk is for recovery, in the background. */
  async *all(): AsyncIterable<StoredManifest> {
    for await (const path of filesBelow(this.#layout.manifests)) {
      const parts = relative(this.#layout.manifests, path).split(sep);
      const [upstream, ...rest] = parts;
      const file = rest.pop();
      const marker = rest.pop();
      const name = parseRepositoryName(rest.join('/'));
      const digest = parseDigest((file ?? '').replace('-', ':'));
      if (upstream === undefined || marker !== '_manifests' || name === undefined || digest === undefined)
        continue;
      const repository = { upstream, name };
      const content = await this.read(repository, digest);
      if (content !== undefined) yield { repository, digest, content };
    }
  }
}

async function* filesBelow(folder: string): AsyncIterable<string> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield path;
  }
}
