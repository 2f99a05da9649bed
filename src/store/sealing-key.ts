import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';

const KEY_BYTES = 32;

/**
 * The secret that upstream tokens are sealed under, made on first use and kept beside the store with mode 0600.
 * @throws when it is there but cannot be read, or is not what was written here.
 */
export async function readSealingKey(path: string): Promise<Uint8Array> {
  const made = await openIf(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 'EEXIST');
  if (made !== undefined) {
    try {
      const key = randomBytes(KEY_BYTES);
      await made.writeFile(key);
      await made.sync();
      return key;
    } finally {
      await made.close();
    }
  }
  // O_NONBLOCK: a planted FIFO must not hang the start.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const key = await file.readFile();
    if (key.byteLength === KEY_BYTES) return key;
  } finally {
    await file.close();
  }
  throw new Error(`${path} does not hold ${KEY_BYTES} bytes: remove it, and a new one is made`);
}

async function openIf(path: string, flags: number, unless: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, flags | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === unless) return undefined;
    throw error;
  }
}
