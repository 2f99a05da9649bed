import type { Registry } from 'prom-client';
import { TalliedCounter } from './tallied-counter.ts';

/** Repositories with a series of their own, in one process; what later ones save is summed under `other`. */
const MAX_REPOSITORIES = 200;
const OTHER = 'other';

/** What the cache is worth: body bytes sent to clients that no upstream had to send for them. */
export class Savings {
  readonly #known = new Set<string>();
  readonly #byUpstream: TalliedCounter<'upstream'>;
  readonly #byRepository: TalliedCounter<'upstream' | 'repository'>;

  constructor(registry: Registry) {
    this.#byUpstream = new TalliedCounter({
      name: 'pierhead_saved_bytes_total',
      help: 'Body bytes sent to clients that no upstream had to send for them.',
      labelNames: ['upstream'],
      registers: [registry],
    });
    this.#byRepository = new TalliedCounter({
      name: 'pierhead_repository_saved_bytes_total',
      help: `The same by repository: ${MAX_REPOSITORIES} of them by name, all others together.`,
      labelNames: ['upstream', 'repository'],
      registers: [registry],
    });
  }

  add(upstream: string, repository: string, bytes: number): void {
    this.#byUpstream.add(upstream, bytes, () => ({ upstream }));
    const series = this.#seriesOf(upstream, repository);
    this.#byRepository.add(`${upstream}/${series}`, bytes, () => ({ upstream, repository: series }));
  }

  /** First come, first named: a series that came and went with its rank would fall, which a counter must not. */
  #seriesOf(upstream: string, repository: string): string {
    const key = `${upstream}/${repository}`;
    if (this.#known.has(key)) return repository;
    if (this.#known.size >= MAX_REPOSITORIES) return OTHER;
    this.#known.add(key);
    return repository;
  }
}
