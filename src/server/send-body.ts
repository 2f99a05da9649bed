import type { ServerResponse } from 'node:http';
import type { BlobBody } from '../cache/fills/blob-body.ts';
import { LARGEST, SMALLEST, type ReadBudget } from './read-budget.ts';

/** A buffer that is drained faster than this may be larger the next time; one that takes longer, smaller. */
const FAST_MS = 5;
const SLOW_MS = 200;

export interface SentBody {
  readonly bytes: number;
  /** Why it ended short: the client went away, or the blob could not be had. */
  readonly broken: 'client' | 'blob' | undefined;
  readonly cause?: unknown;
}

/**
 * Sends `length` bytes of `blob` from `first`, and closes it. One buffer per answer: the next read starts when the
 * socket has taken the last, so a slow client costs one buffer and nothing else.
 */
export async function sendBlob(
  response: ServerResponse,
  blob: BlobBody,
  first: number,
  length: number,
  budget: ReadBudget,
): Promise<SentBody> {
  let buffer = budget.take(SMALLEST);
  let sent = 0;
  const gone = Promise.withResolvers<void>();
  const onClose = (): void => {
    blob.cancel();
    gone.resolve();
  };
  response.once('close', onClose);
  try {
    while (sent < length && !response.destroyed) {
      const count = await blob.read(buffer.subarray(0, length - sent), first + sent);
      const startedAt = performance.now();
      await Promise.race([write(response, buffer.subarray(0, count)), gone.promise]);
      sent += count;
      const wanted = nextSize(buffer.byteLength, performance.now() - startedAt);
      if (wanted !== buffer.byteLength) {
        budget.giveBack(buffer);
        buffer = budget.take(wanted);
      }
    }
    return sent === length ? { bytes: sent, broken: undefined } : { bytes: sent, broken: 'client' };
  } catch (cause) {
    return { bytes: sent, broken: response.destroyed ? 'client' : 'blob', cause };
  } finally {
    response.removeListener('close', onClose);
    budget.giveBack(buffer);
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
  if (drainMs < FAST_MS) return Math.min(size * 4, LARGEST);
  return drainMs > SLOW_MS ? Math.max(size / 4, SMALLEST) : size;
}
