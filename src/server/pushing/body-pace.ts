import type { IncomingMessage } from 'node:http';
import { seconds, type Bytes } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';

/*
 * Node's `requestTimeout` is one for a whole server and for a whole request, 15 s for pulls. A push of 2 GB takes longer, so
 * where pushes are on it is off, and these hold in its place: headers have Node's own `headersTimeout`, a body that is
 * passed on must keep a pace, and one that nobody wants has a few seconds to end.
 */
const WINDOW = seconds(30);
const LINGER = seconds(5);

export interface BodyPace {
  readonly clock: Clock;
  /** Bytes per second that are in force now; 0 asks for none. */
  readonly minRate: () => Bytes;
}

/**
 * Resolves when the body of a request is slower than `minRate` over 30 s; never when it ends or `over` is aborted first. A window
 * in which reading was paused, because the upstream is slow itself, is not held against the client.
 */
export async function bodyTooSlow(
  request: IncomingMessage,
  { clock, minRate }: BodyPace,
  over: AbortSignal,
): Promise<void> {
  const { socket } = request;
  let paused = false;
  const onPause = (): void => {
    paused = true;
  };
  request.on('pause', onPause);
  try {
    for (;;) {
      paused = request.isPaused();
      const before = socket.bytesRead;
      await clock.sleep(WINDOW, over);
      if (request.complete) break;
      const least = (minRate() * WINDOW) / 1000;
      if (!paused && socket.bytesRead - before < least) return;
    }
  } catch {
    // The exchange is over.
  } finally {
    request.removeListener('pause', onPause);
  }
  await new Promise(() => undefined);
}

/**
 * After an answer that did not wait for the body: reads on for a moment, so that the client gets to see the answer (with unread
 * bytes a socket closes with RST, which takes the answer along), and ends the connection then.
 */
export async function letBodyEnd(request: IncomingMessage, clock: Clock): Promise<void> {
  if (request.complete || request.socket.destroyed) return;
  const over = new AbortController();
  const end = (): void => over.abort();
  request.once('end', end);
  request.once('close', end);
  request.unpipe();
  request.resume();
  try {
    await clock.sleep(LINGER, over.signal);
    request.socket.destroySoon();
  } catch {
    // It has come to its end.
  }
}
