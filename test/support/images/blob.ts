import { createCipheriv, createHash, type Cipheriv } from 'node:crypto';
import { open } from 'node:fs/promises';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { MiB } from '../../../src/lib/brand.ts';

/** Content of a registry, with its name; in memory, or in a file when it is too large for that. */
export class BlobFixture {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
  readonly #content: Buffer | string;

  /** @param content the bytes, or the path of the file that holds them. */
  constructor(
    content: Buffer | string,
    digest: Digest,
    size: number,
    mediaType = 'application/octet-stream',
  ) {
    this.#content = content;
    this.digest = digest;
    this.size = size;
    this.mediaType = mediaType;
  }

  static of(content: Buffer, mediaType?: string): BlobFixture {
    return new BlobFixture(content, digestOf(content), content.byteLength, mediaType);
  }

  /** The whole content; of a blob in memory only. */
  get bytes(): Buffer {
    if (typeof this.#content === 'string')
      throw new Error(`${this.digest} is in ${this.#content}: use read()`);
    return this.#content;
  }

  /** From `start` up to, not including, `end`. At once and without a copy when the blob is in memory. */
  read(start = 0, end = this.size): Buffer | Promise<Buffer> {
    return typeof this.#content === 'string'
      ? readPart(this.#content, start, end)
      : this.#content.subarray(start, end);
  }

  get descriptor(): { mediaType: string; digest: Digest; size: number } {
    return { mediaType: this.mediaType, digest: this.digest, size: this.size };
  }
}

/** Bytes that do not compress and that are the same for the same seed. */
export function randomBlob(size: number, seed: string | number): BlobFixture {
  return BlobFixture.of(new RandomBytes(seed).take(size));
}

const ZEROS = Buffer.alloc(MiB);

/** An endless stream of bytes made from a seed: the key stream of AES in counter mode, at gigabytes a second. */
export class RandomBytes {
  readonly #cipher: Cipheriv;

  constructor(seed: string | number) {
    const key = createHash('sha256').update(String(seed)).digest().subarray(0, 16);
    this.#cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  }

  take(size: number): Buffer {
    if (size <= ZEROS.byteLength) return this.#cipher.update(ZEROS.subarray(0, size));
    const taken = Buffer.allocUnsafeSlow(size);
    for (let at = 0; at < size; at += MiB) this.take(Math.min(MiB, size - at)).copy(taken, at);
    return taken;
  }
}

async function readPart(file: string, start: number, end: number): Promise<Buffer> {
  await using handle = await open(file);
  const buffer = Buffer.allocUnsafe(end - start);
  const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, start);
  if (bytesRead !== buffer.byteLength) throw new Error(`${file} is shorter than ${end} bytes`);
  return buffer;
}
