import { close, constants, fstat, fsync, open, read, type Stats } from 'node:fs';
import { mkdir, rename, rm, unlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { dirname } from 'node:path';
import type { Hash } from 'node:crypto';
import { MiB } from '../lib/brand.ts';
import { hasherFor, type Digest } from '../oci/digest.ts';
import type { StoreLayout } from './layout.ts';

const openFile = promisify(open);
const closeFile = promisify(close);
const statFile: (fd: number) => Promise<Stats> = promisify(fstat);
const syncFile = promisify(fsync);
const { O_RDONLY, O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;

const HASH_READ_BYTES = 1 * MiB;

/** An open file of the store. Whoever opens it closes it; reading goes on after the file was unlinked or renamed. */
export class OpenFile {
  readonly fd: number;
  readonly size: number;
  #open = true;

  constructor(fd: number, size: number) {
    this.fd = fd;
    this.size = size;
  }

  /** Fills `buffer` from `position` as far as the file goes; returns the number of bytes. */
  read(buffer: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.fd, buffer, 0, buffer.byteLength, position, (error, count) => {
        if (error) reject(error);
        else resolve(count);
      });
    });
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await closeFile(this.fd);
  }
}

/** The blob files: opened by workers, written, committed and removed by the keeper alone. */
export class BlobFiles {
  readonly layout: StoreLayout;

  constructor(layout: StoreLayout) {
    this.layout = layout;
  }

  /** The committed blob, or undefined when it is not here. Links, FIFOs and folders under its name are not here. */
  open(digest: Digest): Promise<OpenFile | undefined> {
    return openRegular(this.layout.blob(digest), O_RDONLY);
  }

  /** The growing file of a running fill, for a follower. */
  openPartial(digest: Digest): Promise<OpenFile | undefined> {
    return openRegular(this.layout.partialBlob(digest), O_RDONLY);
  }

  /** The partial file for writing, made when it is not there; its size says how far an earlier fill came. */
  async openPartialForWriting(digest: Digest): Promise<OpenFile> {
    const path = this.layout.partialBlob(digest);
    let file = await openOwn(path);
    if (file === undefined) {
      // Somebody cleaned up under us: an edge whose folder is gone would pass everything through until a restart.
      await this.layout.create();
      file = await openOwn(path);
    }
    if (file === undefined) throw new Error('the partial file is not a regular file');
    return file;
  }

  /**
   * Makes a verified partial file the blob: fsync, rename, fsync of the folder. In that order a crash leaves either
   * the partial or the whole blob, never a short file under `blobs/`.
   */
  async commit(digest: Digest, partial: OpenFile): Promise<void> {
    await syncFile(partial.fd);
    const target = this.layout.blob(digest);
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    await rename(this.layout.partialBlob(digest), target);
    await syncFolder(dirname(target));
  }

  async remove(digest: Digest): Promise<void> {
    await removeIfThere(this.layout.blob(digest));
  }

  async removePartial(digest: Digest): Promise<void> {
    await removeIfThere(this.layout.partialBlob(digest));
  }

  /** Takes a file that is not what its name says out of the way, for a look. */
  async quarantine(digest: Digest): Promise<void> {
    await rename(this.layout.blob(digest), `${this.layout.quarantine}/${digest.replace(':', '-')}`);
  }
}

/** The hash of the first `size` bytes, by the digest's algorithm. @throws when the file is shorter. */
export async function hashFile(file: OpenFile, size: number, digest: Digest): Promise<Hash> {
  const hash = hasherFor(digest);
  const buffer = Buffer.allocUnsafe(Math.min(HASH_READ_BYTES, size));
  for (let position = 0; position < size;) {
    const count = await file.read(buffer.subarray(0, Math.min(buffer.byteLength, size - position)), position);
    if (count === 0) throw new Error('the file became shorter');
    hash.update(buffer.subarray(0, count));
    position += count;
  }
  return hash;
}

/** For writing: a file that has another name elsewhere is not ours to write to (CVE-2013-0337). */
async function openOwn(path: string): Promise<OpenFile | undefined> {
  const file = await openRegular(path, O_RDWR | O_CREAT);
  if (file === undefined || (await statFile(file.fd)).nlink <= 1) return file;
  await file.close();
  return undefined;
}

async function openRegular(path: string, flags: number): Promise<OpenFile | undefined> {
  let fd: number;
  try {
    // O_NONBLOCK: opening a planted FIFO must not hang the worker.
    fd = await openFile(path, flags | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    const stats = await statFile(fd);
    if (stats.isFile()) return new OpenFile(fd, stats.size);
  } catch (error) {
    await closeFile(fd);
    throw error;
  }
  await closeFile(fd);
  return undefined;
}

/** Makes a rename or a removal in `folder` durable. */
export async function syncFolder(folder: string): Promise<void> {
  const fd = await openFile(folder, O_RDONLY | O_DIRECTORY);
  try {
    await syncFile(fd);
  } finally {
    await closeFile(fd);
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EISDIR') await rm(path, { recursive: true });
    else if (!isMissing(error)) throw error;
  }
}

/** Absent, or a symbolic link where a file should be (ELOOP, from O_NOFOLLOW). */
function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR' || code === 'ENXIO';
}
