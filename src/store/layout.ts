import { chmod, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { algorithmOf, hexOf, type Digest } from '../oci/digest.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';

/** Bumped when the meaning of a path or a record changes: an older edge never misreads a newer one's files. */
const VERSION = 'v1';

/** Every path of the store; nothing else builds one. Parts of a path come only from branded, parsed values. */
export class StoreLayout {
  readonly root: string;
  readonly blobs: string;
  readonly partial: string;
  readonly manifests: string;
  readonly quarantine: string;
  readonly meta: string;
  /** Present while an edge runs on this folder; found at start, it says that the last one did not end by itself. */
  readonly runningMarker: string;
  /** The keeper's control socket; being able to connect to it means that this folder has an owner. */
  readonly controlSocket: string;
  /** 32 random bytes that tokens are sealed under; never leaves this host. */
  readonly sealingKey: string;
  /** Which images an operator wants kept: said once and derived from nothing, so it stands outside of `meta/`. */
  readonly pins: string;

  constructor(storagePath: string) {
    this.root = join(storagePath, VERSION);
    this.blobs = join(this.root, 'blobs');
    this.partial = join(this.root, 'partial');
    this.manifests = join(this.root, 'manifests');
    this.quarantine = join(this.root, 'quarantine');
    this.meta = join(this.root, 'meta');
    this.runningMarker = join(this.root, 'running');
    this.controlSocket = join(this.root, 'control.sock');
    this.sealingKey = join(this.root, 'sealing.key');
    this.pins = join(this.root, 'pins.json');
  }

  /** @throws the file system's error when a folder cannot be made. */
  async create(): Promise<void> {
    for (const folder of [this.root, this.blobs, this.partial, this.manifests, this.quarantine, this.meta]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await shutOut(folder);
    }
  }

  blobFolder(digest: Digest): string {
    return join(this.blobs, algorithmOf(digest), hexOf(digest).slice(0, 2));
  }

  blob(digest: Digest): string {
    return join(this.blobFolder(digest), hexOf(digest));
  }

  partialBlob(digest: Digest): string {
    return join(this.partial, fileName(digest));
  }

  /** `_manifests` cannot be a component of a repository name, so repositories may nest. */
  manifestFolder(repository: RepositoryRef): string {
    return join(this.manifests, repository.upstream, ...repository.name.split('/'), '_manifests');
  }

  manifest(repository: RepositoryRef, digest: Digest): string {
    return join(this.manifestFolder(repository), fileName(digest));
  }
}

/** Who could write here could put links and FIFOs where files belong. Who may read is for the operator to say. */
async function shutOut(folder: string): Promise<void> {
  const { mode } = await stat(folder);
  if ((mode & 0o022) !== 0) await chmod(folder, mode & 0o7755);
}

function fileName(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest)}`;
}
