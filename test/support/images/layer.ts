import { createHash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Digest } from '../../../src/oci/digest.ts';
import { BlobFixture, RandomBytes } from './blob.ts';

export interface Layer {
  readonly blob: BlobFixture;
  /** The digest of the tar inside, as the image's config lists it. */
  readonly diffId: Digest;
}

export interface LayerOptions {
  /** Of the finished blob, exactly. */
  readonly size: number;
  readonly seed: string | number;
  readonly mediaType: string;
  /** Where to write the blob to; without it, it is held in memory. */
  readonly file?: string;
}

const TAR_BLOCK = 512;
const GZIP_HEADER = 10;
const GZIP_TRAILER = 8;
/** The most that a stored block of deflate holds, and what its own header takes. */
const STORED_BLOCK = 65_535;
const STORED_HEADER = 5;
/** An extra field of gzip (RFC 1952 §2.3.1.1) with no data: its total length, then two letters and the data's length. */
const EXTRA_HEADER = 6;

export const SMALLEST_LAYER =
  4 * TAR_BLOCK + GZIP_HEADER + EXTRA_HEADER + STORED_HEADER + GZIP_TRAILER + TAR_BLOCK;

/**
 * A gzip'd tar with one file of random bytes. It is stored, not deflated: random bytes do not compress, and so the
 * sizes are known before the first byte is made, and a gigabyte takes seconds.
 */
export function makeLayer(options: LayerOptions): Layer {
  const { size, seed, mediaType, file } = options;
  const { fileSize, tarSize, padding } = plan(size);
  const sink = file === undefined ? memorySink(size) : fileSink(file);
  const whole = createHash('sha256');
  const write = (chunk: Buffer): void => {
    whole.update(chunk);
    sink.write(chunk);
  };
  const tar = createHash('sha256');
  let checksum = 0;
  let written = 0;
  const random = new RandomBytes(seed);
  const rest = Buffer.alloc(tarSize - TAR_BLOCK - fileSize);
  const head = tarHeader(
    `layer-${createHash('sha256').update(String(seed)).digest('hex').slice(0, 12)}`,
    fileSize,
  );

  try {
    write(gzipHeader(padding));
    while (written < tarSize) {
      const length = Math.min(STORED_BLOCK, tarSize - written);
      const content = Buffer.concat(pieces(written, length), length);
      tar.update(content);
      checksum = crc32(content, checksum);
      written += length;
      write(storedHeader(length, written === tarSize));
      write(content);
    }
    const trailer = Buffer.alloc(GZIP_TRAILER);
    trailer.writeUInt32LE(checksum, 0);
    trailer.writeUInt32LE(tarSize % 2 ** 32, 4);
    write(trailer);
  } finally {
    sink.close();
  }
  const digest = `sha256:${whole.digest('hex')}` as Digest;
  return {
    blob: new BlobFixture(file ?? sink.content, digest, size, mediaType),
    diffId: `sha256:${tar.digest('hex')}` as Digest,
  };

  /** What stands in the tar from `start` on: its header, the file, zeros up to the end. */
  function pieces(start: number, length: number): Buffer[] {
    const fileEnd = TAR_BLOCK + fileSize;
    const end = start + length;
    const result: Buffer[] = [];
    if (start < TAR_BLOCK) result.push(head.subarray(start, end));
    const from = Math.max(start, TAR_BLOCK);
    const to = Math.min(end, fileEnd);
    if (from < to) result.push(random.take(to - from));
    if (end > fileEnd) result.push(rest.subarray(Math.max(start, fileEnd) - fileEnd, end - fileEnd));
    return result;
  }
}

/** The largest file whose tar fits; the odd bytes that are left go into an extra field of the gzip header. */
function plan(size: number): { fileSize: number; tarSize: number; padding: number } {
  if (size < SMALLEST_LAYER)
    throw new RangeError(`a layer takes at least ${SMALLEST_LAYER} bytes, not ${size}`);
  const frame = GZIP_HEADER + EXTRA_HEADER + GZIP_TRAILER;
  const gzipSize = (tarSize: number): number =>
    frame + tarSize + Math.ceil(tarSize / STORED_BLOCK) * STORED_HEADER;
  let tarSize = Math.floor((size - frame) / TAR_BLOCK) * TAR_BLOCK;
  while (gzipSize(tarSize) > size) tarSize -= TAR_BLOCK;
  // A header block before the file and two empty blocks after it.
  return { fileSize: tarSize - 3 * TAR_BLOCK, tarSize, padding: size - gzipSize(tarSize) };
}

function gzipHeader(padding: number): Buffer {
  const header = Buffer.alloc(GZIP_HEADER + EXTRA_HEADER + padding);
  // Magic, deflate, "has an extra field", no time, unknown system.
  header.set([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255], 0);
  header.writeUInt16LE(EXTRA_HEADER - 2 + padding, 10);
  header.write('PH', 12, 'latin1');
  header.writeUInt16LE(padding, 14);
  return header;
}

function storedHeader(length: number, last: boolean): Buffer {
  const header = Buffer.alloc(STORED_HEADER);
  header.writeUInt8(last ? 1 : 0, 0);
  header.writeUInt16LE(length, 1);
  header.writeUInt16LE(length ^ 0xffff, 3);
  return header;
}

function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(TAR_BLOCK);
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0');
  header.write(name, 0, 'latin1');
  header.write(octal(0o644, 7), 100, 'latin1');
  header.write(octal(0, 7), 108, 'latin1');
  header.write(octal(0, 7), 116, 'latin1');
  header.write(octal(size, 11), 124, 'latin1');
  header.write(octal(0, 11), 136, 'latin1');
  header.write('        0', 148, 'latin1');
  header.write('ustar\u000000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)}\u0000 `, 148, 'latin1');
  return header;
}

interface Sink {
  readonly content: Buffer;
  write(chunk: Buffer): void;
  close(): void;
}

function memorySink(size: number): Sink {
  const content = Buffer.allocUnsafeSlow(size);
  let at = 0;
  return { content, write: (chunk) => void (at += chunk.copy(content, at)), close: () => undefined };
}

function fileSink(file: string): Sink {
  const fd = openSync(file, 'w');
  return {
    content: Buffer.alloc(0),
    write: (chunk) => void writeSync(fd, chunk),
    close: () => closeSync(fd),
  };
}
