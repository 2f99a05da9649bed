import type { ServerResponse } from 'node:http';
import type { BlobBody } from '../cache/fills/blob-body.ts';
import { LARGEST_READ, SMALLEST_READ } from '../lib/read-budget.ts';

/** A piece that is drained faster than this may be larger the next time; one that takes longer, smaller. */
const FAST_MS = 5;
const SLOW_MS = 200;

export interface SentBody {
  readonly bytes: number;
  /** Why it ended short: the client went away, or the blob could not be had. */
  readonly broken: 'client' | 'blob' | undefined;
  readonly cause?: unknown;
}

/**
 * Sends `length` bytes of `blob` from `first`, and closes it. One piece at a time: the next is read when the socket has
 * taken the last, so a slow client costs one buffer and nothing else.
 */
export async function sendBlob(
  response: ServerResponse,
  blob: BlobBody,
  first: number,
  length: number,
): Promise<SentBody> {
  const gone = Promise.withResolvers<void>();
  const onClose = (): void => {
    blob.cancel();
    gone.resolve();
  };
  response.once('close', onClose);
  let wanted = SMALLEST_READ;
  let sent = 0;
  try {
    while (sent < length && !response.destroyed) {
      const piece = await blob.read(first + sent, Math.min(wanted, length - sent));
      const startedAt = performance.now();
      const bytes = piece.bytes.subarray(0, length - sent);
      await Promise.race([write(response, bytes), gone.promise]);
      piece.release();
      sent += bytes.byteLength;
      wanted = nextSize(wanted, performance.now() - startedAt);
    }
    return sent === length ? { bytes: sent, broken: undefined } : { bytes: sent, broken: 'client' };
  } catch (cause) {
    return { bytes: sent, broken: response.destroyed ? 'client' : 'blob', cause };
  } finally {
    response.removeListener('close', onClose);
    await blob.close();
  }
}

/** Resolves when the socket has taken the chunk: only then may the buffer be used again. */
function write(response: ServerResponse, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    response.write(chunk, () => resolve());
  });
}

function nextSize(size: number, drainMs: number): number {
  if (drainMs < FAST_MS) return Math.min(size * 4, LARGEST_READ);
  return drainMs > SLOW_MS ? Math.max(size / 4, SMALLEST_READ) : size;
}
