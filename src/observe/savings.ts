import { Counter, type Registry } from 'prom-client';

/** Repositories with a series of their own, in one process; what later ones save is summed under `other`. */
const MAX_REPOSITORIES = 200;
const OTHER = 'other';

/** What the cache is worth: body bytes sent to clients that no upstream had to send for them. */
export class Savings {
  readonly #known = new Set<string>();
  readonly #byUpstream: Counter<'upstream'>;
  readonly #byRepository: Counter<'upstream' | 'repository'>;

  constructor(registry: Registry) {
    this.#byUpstream = new Counter({
      name: 'pierhead_saved_bytes_total',
      help: 'Body bytes sent to clients that no upstream had to send for them.',
      labelNames: ['upstream'],
      registers: [registry],
    });
    this.#byRepository = new Counter({
      name: 'pierhead_repository_saved_bytes_total',
      help: `The same by repository: ${MAX_REPOSITORIES} of them by name, all others together.`,
      labelNames: ['upstream', 'repository'],
      registers: [registry],
    });
  }

  add(upstream: string, repository: string, bytes: number): void {
    this.#byUpstream.inc({ upstream }, bytes);
    this.#byRepository.inc({ upstream, repository: this.#seriesOf(upstream, repository) }, bytes);
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
