import { LRUCache } from 'lru-cache';
import { seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';

const WINDOW = seconds(60);
/** Of one address for one name: a person who mistypes stays far below. */
const TRIES_PER_NAME = 10;
/** Of one address for all names. */
const TRIES_PER_ADDRESS = 100;
const MAX_COUNTED = 20_000;

interface Count {
  readonly until: number;
  failures: number;
}

/** Who has tried wrong passwords of late; bounded, the longest quiet are forgotten first. */
export class FailedLogins {
  readonly #clock: Clock;
  readonly #counts = new LRUCache<string, Count>({ max: MAX_COUNTED });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** For how many seconds nothing more of that address and name is looked at; undefined: go on. */
  waitSeconds(address: string, user: string): number | undefined {
    const now = this.#clock.monotonic();
    const waits = [
      this.#wait(now, nameKey(address, user), TRIES_PER_NAME),
      this.#wait(now, address, TRIES_PER_ADDRESS),
    ];
    const longest = Math.max(...waits);
    return longest > 0 ? Math.ceil(longest / 1000) : undefined;
  }

  add(address: string, user: string): void {
    this.#count(address);
    this.#count(nameKey(address, user));
  }

  /** A try that not all sources have judged: while one is down, all that is behind one address must not be locked out. */
  addForName(address: string, user: string): void {
    this.#count(nameKey(address, user));
  }

  #count(key: string): void {
    const now = this.#clock.monotonic();
    const count = this.#counts.get(key);
    if (count !== undefined && count.until > now) count.failures += 1;
    else this.#counts.set(key, { until: now + WINDOW, failures: 1 });
  }

  #wait(now: number, key: string, tries: number): number {
    const count = this.#counts.get(key);
    return count !== undefined && count.failures >= tries ? count.until - now : 0;
  }
}

/** No address has a blank in it. */
function nameKey(address: string, user: string): string {
  return `${address} ${user}`;
}
