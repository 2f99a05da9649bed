import { setImmediate as turn } from 'node:timers/promises';
import { ms, type Milliseconds } from '../../src/lib/brand.ts';
import type { Clock } from '../../src/lib/clock.ts';

interface Sleeper {
  readonly due: number;
  readonly wake: () => void;
}

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #wall: number;
  #monotonic = 0;
  /** In the order in which they wake: by time, and by the order of asking at the same time. */
  readonly #sleepers: Sleeper[] = [];

  constructor(wall = Date.UTC(2026, 0, 1)) {
    this.#wall = wall;
  }

  now(): Milliseconds {
    return ms(this.#wall);
  }

  monotonic(): Milliseconds {
    return ms(this.#monotonic);
  }

  async sleep(duration: Milliseconds, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const sleeper: Sleeper = { due: this.#monotonic + Math.max(0, duration), wake: resolve };
    const later = this.#sleepers.findIndex((other) => other.due > sleeper.due);
    this.#sleepers.splice(later === -1 ? this.#sleepers.length : later, 0, sleeper);
    const abort = (): void => {
      this.#sleepers.splice(this.#sleepers.indexOf(sleeper), 1);
      reject(signal?.reason as Error);
    };
    signal?.addEventListener('abort', abort, { once: true });
    await promise.finally(() => signal?.removeEventListener('abort', abort));
  }

  /** How many sleep now. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  /**
   * Moves the time forward. Whoever sleeps wakes at its own time, in order, and gets a turn before the next does; so
   * a loop that sleeps again within the span wakes again within the span.
   */
  async advance(duration: number): Promise<void> {
    const target = this.#monotonic + duration;
    await turn();
    for (let next = this.#sleepers[0]; next !== undefined && next.due <= target; next = this.#sleepers[0]) {
      this.#sleepers.shift();
      this.#moveTo(next.due);
      next.wake();
      await turn();
    }
    this.#moveTo(target);
    await turn();
  }

  /** Somebody sets the wall clock: sleepers do not notice. */
  jumpWall(wall: number): void {
    this.#wall = wall;
  }

  #moveTo(monotonic: number): void {
    this.#wall += monotonic - this.#monotonic;
    this.#monotonic = monotonic;
  }
}
