import { setTimeout as delay } from 'node:timers/promises';

/** A slice lasts this long at the bucket's rate, so that what is throttled flows and does not come in gulps. */
const SLICE_MS = 10;
/** How far a flow may lag behind its schedule and still catch up: a busy machine wakes its sleepers late. */
const MAX_LAG_MS = 100;

/**
 * A rate in bytes a second that all flows through it share, first come, first served. It keeps a schedule rather than
 * a budget: each grant is due when the one before it has been "sent", so that late timers do not lower the rate.
 */
export class TokenBucket {
  #bytesPerSecond: number;
  /** When the line is free again, on the scale of `performance.now()`. */
  #free = 0;
  #flows = 0;

  /** @param bytesPerSecond `Infinity` for no limit. */
  constructor(bytesPerSecond = Infinity) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  set bytesPerSecond(value: number) {
    this.#bytesPerSecond = value;
    this.#free = performance.now();
  }

  get limited(): boolean {
    return this.#bytesPerSecond !== Infinity;
  }

  /** The largest grant of one call: what passes in one slice. */
  get sliceBytes(): number {
    return this.limited ? Math.max(1, Math.floor((this.#bytesPerSecond * SLICE_MS) / 1000)) : Infinity;
  }

  /** Says that somebody is sending. An idle line saves nothing up; a line in use may catch up with its schedule. */
  open(): () => void {
    if (this.#flows === 0) this.#free = Math.max(this.#free, performance.now());
    this.#flows += 1;
    let opened = true;
    return () => {
      if (opened) this.#flows -= 1;
      opened = false;
    };
  }

  /** Resolves when `bytes` may be sent; ask for at most {@link sliceBytes} at a time. */
  async take(bytes: number): Promise<void> {
    if (!this.limited) return;
    const now = performance.now();
    const start = Math.max(this.#free, now - MAX_LAG_MS);
    this.#free = start + (bytes * 1000) / this.#bytesPerSecond;
    if (start > now) await delay(start - now);
  }

  /** Hands `chunk` on in slices, at the rate. */
  async pass(chunk: Buffer, send: (slice: Buffer) => void | Promise<void>): Promise<void> {
    const close = this.open();
    try {
      let at = 0;
      while (at < chunk.byteLength) {
        const slice = chunk.subarray(at, at + Math.min(this.sliceBytes, chunk.byteLength));
        await this.take(slice.byteLength);
        await send(slice);
        at += slice.byteLength;
      }
    } finally {
      close();
    }
  }
}
