import { LRUCache } from 'lru-cache';
import type { Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';

/** Bounded, so that random names cannot grow it. */
const MAX_ENTRIES = 10_000;

/** What the upstream does not have, remembered for a short while. */
export class NegativeCache {
  readonly #absent: LRUCache<string, Milliseconds>;
  readonly #clock: Clock;
  #lifetime: Milliseconds;

  constructor(clock: Clock, lifetime: Milliseconds) {
    this.#absent = new LRUCache({ max: MAX_ENTRIES });
    this.#clock = clock;
    this.#lifetime = lifetime;
  }

  /** Also for what is remembered already. */
  keepFor(lifetime: Milliseconds): void {
    this.#lifetime = lifetime;
  }

  has(key: string): boolean {
    const since = this.#absent.get(key);
    return since !== undefined && this.#clock.monotonic() - since < this.#lifetime;
  }

  add(key: string): void {
    this.#absent.set(key, this.#clock.monotonic());
  }

  delete(key: string): void {
    this.#absent.delete(key);
  }

  clear(): void {
    this.#absent.clear();
  }
}
