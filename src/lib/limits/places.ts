import type { Milliseconds } from '../brand.ts';
import type { Clock } from '../clock.ts';
import { within } from '../within.ts';

export interface PlacesOptions {
  readonly clock: Clock;
  /** How many places `holder` may have at the moment. */
  readonly most: (holder: string) => number;
  /** How long one waits for a place. */
  readonly patience: Milliseconds;
  /** For one holder. */
  readonly maxWaiting: number;
}

type Leave = () => void;

interface Held {
  count: number;
  readonly waiting: Set<(leave: Leave | undefined) => void>;
}

/** A limited number of places for each holder. What is kept of a holder goes with their last place. */
export class Places {
  readonly #options: PlacesOptions;
  readonly #holders = new Map<string, Held>();

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  get holders(): number {
    return this.#holders.size;
  }

  /** At once or not at all. */
  tryEnter(holder: string): Leave | undefined {
    const held = this.#holders.get(holder);
    if (held !== undefined && held.waiting.size > 0) return undefined;
    if ((held?.count ?? 0) >= this.#options.most(holder)) return undefined;
    return this.#give(holder);
  }

  /** In turn; undefined when no place comes free in time, or nobody is there who could free one. */
  async enter(holder: string): Promise<Leave | undefined> {
    const { clock, patience, maxWaiting } = this.#options;
    const place = this.tryEnter(holder);
    const held = this.#holders.get(holder);
    if (place !== undefined || held === undefined || held.waiting.size >= maxWaiting) return place;
    const { promise, resolve } = Promise.withResolvers<Leave | undefined>();
    held.waiting.add(resolve);
    const given = await within(clock, patience, promise);
    // One that was given at the last moment is taken after all: somebody has to give it back.
    return given ?? (held.waiting.delete(resolve) ? undefined : await promise);
  }

  #give(holder: string): Leave {
    const held = this.#holders.get(holder) ?? { count: 0, waiting: new Set() };
    this.#holders.set(holder, held);
    held.count += 1;
    let here = true;
    return () => {
      if (!here) return;
      here = false;
      held.count -= 1;
      this.#passOn(holder, held);
    };
  }

  #passOn(holder: string, held: Held): void {
    const hasRoom = (): boolean => held.count < this.#options.most(holder);
    for (const grant of held.waiting) {
      if (held.count > 0 && !hasRoom()) break;
      held.waiting.delete(grant);
      grant(hasRoom() ? this.#give(holder) : undefined);
    }
    if (held.count === 0) this.#holders.delete(holder);
  }
}
