import { LRUCache } from 'lru-cache';
import { ms, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import { repositoryKey, type RepositoryRef } from '../oci/repository-ref.ts';

/** Bounded, so that random names cannot grow it. */
const MAX_ENTRIES = 10_000;

/** What the upstream does not have, remembered for a short while. */
export class NegativeCache {
  readonly #absent: LRUCache<string, Milliseconds>;
  readonly #clock: Clock;
  readonly #lifetimeOf: (upstream: string) => Milliseconds;

  constructor(clock: Clock, lifetimeOf: (upstream: string) => Milliseconds) {
    this.#absent = new LRUCache({ max: MAX_ENTRIES });
    this.#clock = clock;
    this.#lifetimeOf = lifetimeOf;
  }

  has(key: string): boolean {
    const until = this.#absent.get(key);
    return until !== undefined && this.#clock.monotonic() < until;
  }

  add(key: string, upstream: string): void {
    this.#absent.set(key, ms(this.#clock.monotonic() + this.#lifetimeOf(upstream)));
  }

  delete(key: string): void {
    this.#absent.delete(key);
  }

  /** Everything of one repository: tags, manifests and blobs; somebody has pushed there. */
  deleteOf(repository: RepositoryRef): void {
    for (const mark of [':', '@']) this.deleteStarting(`${repositoryKey(repository)}${mark}`);
  }

  deleteStarting(prefix: string): void {
    for (const key of Array.from(this.#absent.keys())) if (key.startsWith(prefix)) this.#absent.delete(key);
  }

  clear(): void {
    this.#absent.clear();
  }
}
