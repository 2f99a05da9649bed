import { seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { Places } from '../../lib/limits/places.ts';
import { RateBuckets } from '../../lib/limits/rate-buckets.ts';
import type { Limited } from '../keeper.ts';

/** How many seconds' worth may be spent at once. */
const BURST_SECONDS = 10;
const MAX_CALLERS = 20_000;
/** For the end of what one has asked before. */
const PATIENCE = seconds(2);
const MAX_WAITING = 64;

const OVER: Limited = { kind: 'limited', limit: 'unknown', retryAfterSeconds: 1 };

interface Open {
  /** False: there was no budget for it. */
  readonly entered: Promise<(() => void) | undefined>;
  askers: number;
  charged: boolean;
}

/**
 * What each caller may ask upstreams for in vain. A question takes a part of the budget before it is asked, and gives it back
 * when there is such a thing: a caller who asks for what there is never comes to its end, and one who guesses cannot
 * ask more at once than they have left. Those who ask the same together take one part.
 */
export class UnknownBudget {
  readonly #spent: RateBuckets;
  readonly #places: Places;
  readonly #open = new Map<string, Open>();

  constructor(clock: Clock, perSecond: number) {
    this.#spent = new RateBuckets(clock, rateOf(perSecond), MAX_CALLERS);
    const most = (caller: string): number => Math.floor(this.#spent.left(caller));
    this.#places = new Places({ clock, most, patience: PATIENCE, maxWaiting: MAX_WAITING });
  }

  change(perSecond: number): void {
    this.#spent.change(rateOf(perSecond));
  }

  /** @param key of the question; `vain` says whether the answer is one. */
  async ask<A>(
    { caller, key }: { readonly caller: string; readonly key: string },
    question: () => Promise<A>,
    vain: (answer: A) => boolean,
  ): Promise<A | Limited> {
    const name = `${caller}\n${key}`;
    const open = this.#open.get(name) ?? this.#begin(name, caller);
    open.askers += 1;
    const leave = await open.entered;
    try {
      if (leave === undefined) return OVER;
      const answer = await question();
      if (vain(answer) && !open.charged) {
        open.charged = true;
        this.#spent.add(caller, 1);
        this.#spent.forgetFull();
      }
      return answer;
    } finally {
      open.askers -= 1;
      if (open.askers === 0) {
        if (this.#open.get(name) === open) this.#open.delete(name);
        leave?.();
      }
    }
  }

  #begin(name: string, caller: string): Open {
    const open = { entered: this.#places.enter(caller), askers: 0, charged: false };
    this.#open.set(name, open);
    return open;
  }
}

/** The tenth of what a caller may ask in vain at once comes back each second. */
function rateOf(perSecond: number): { perSecond: number; burst: number } {
  return { perSecond, burst: perSecond * BURST_SECONDS };
}
