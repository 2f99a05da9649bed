import { LRUCache } from 'lru-cache';
import { ms, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import type { NotAuthorized, Unknown } from '../keeper.ts';

/** Bounded, so that made-up callers and names cannot grow it. */
const MAX_ENTRIES = 10_000;

export type Denial = NotAuthorized | Unknown;

/** What an upstream has said no to, for as long as a flood of the same question needs to stay here. */
export class Denials {
  readonly #clock: Clock;
  readonly #kept: LRUCache<string, { readonly denial: Denial; readonly until: Milliseconds }>;
  #era = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#kept = new LRUCache({ max: MAX_ENTRIES });
  }

  /** To be taken before the upstream is asked. */
  get era(): number {
    return this.#era;
  }

  get(key: string): Denial | undefined {
    const kept = this.#kept.get(key);
    return kept !== undefined && this.#clock.monotonic() < kept.until ? kept.denial : undefined;
  }

  /** The answer to a question from before a {@link drop} is not kept. */
  add(key: string, denial: Denial, life: Milliseconds, era: number): void {
    if (era === this.#era) this.#kept.set(key, { denial, until: ms(this.#clock.monotonic() + life) });
  }

  drop(prefix: string): void {
    this.#era += 1;
    for (const key of Array.from(this.#kept.keys())) if (key.startsWith(prefix)) this.#kept.delete(key);
  }
}
