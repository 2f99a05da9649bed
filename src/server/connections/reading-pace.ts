import type { Socket } from 'node:net';
import { seconds, type Bytes, type Milliseconds } from '../../lib/brand.ts';

/** Over so much time that a client keeps the edge waiting, it has to take what the rate makes of it. */
const WINDOW: Milliseconds = seconds(30);

/**
 * How fast a client reads. What counts is the time in which bytes wait for it to take them: while the edge itself has nothing to send,
 * as when an upstream is slow, no time passes. Progress is seen when the kernel makes room in its send buffer, which it does in pieces of
 * up to a third of that.
 */
export class ReadingPace {
  readonly #socket: Socket;
  #waited = 0;
  #takenBefore = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#takenBefore = taken(socket)?.bytes ?? 0;
  }

  /** To be asked each time that `elapsed` has passed. `rate` is per second; 0 asks for none. */
  isTooSlow(rate: Bytes, elapsed: Milliseconds): boolean {
    const now = taken(this.#socket);
    if (now === undefined) return false;
    const wanted = (rate * WINDOW) / 1000;
    if (now.bytes - this.#takenBefore >= wanted) {
      this.#waited = 0;
      this.#takenBefore = now.bytes;
    }
    if (now.waiting) this.#waited += elapsed;
    return rate > 0 && this.#waited >= WINDOW;
  }
}

/**
 * Bytes that the kernel has taken off a socket, and whether more wait. Node has no public word for either (`bytesWritten` counts what
 * waits, and of TLS the plain text); its own socket timeouts read the same fields. Undefined for a socket that is closed.
 */
function taken(socket: Socket): { bytes: number; waiting: boolean } | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const [written, queued]: unknown[] = [
    Reflect.get(handle, 'bytesWritten'),
    Reflect.get(handle, 'writeQueueSize'),
  ];
  if (typeof written !== 'number' || typeof queued !== 'number') return undefined;
  return { bytes: written - queued, waiting: queued > 0 };
}
