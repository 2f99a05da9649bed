import type { BlobBody } from '../../src/cache/fills/blob-body.ts';

export interface ReadResult {
  readonly content: Buffer;
  /** Why it ended short. */
  readonly error: unknown;
}

/** Reads like `server/send-body.ts` does: piece by piece, closing at the end. */
export async function readAll(body: BlobBody, first = 0, last = body.size - 1): Promise<ReadResult> {
  const result = await readPart(body, first, last - first + 1);
  await body.close();
  return result;
}

/** Leaves the body open. */
export async function readPart(body: BlobBody, first: number, length: number): Promise<ReadResult> {
  const content = Buffer.alloc(length);
  let got = 0;
  try {
    while (got < length) {
      const { bytes, release } = await body.read(first + got, 64 * 1024);
      const wanted = bytes.subarray(0, length - got);
      content.set(wanted, got);
      got += wanted.byteLength;
      release();
    }
    return { content, error: undefined };
  } catch (error) {
    return { content: content.subarray(0, got), error };
  }
}
