import { Counter, type Registry } from 'prom-client';

/** Callers over a limit. Without a word on who they are: the log and the record have that. */
export class LimitMetrics {
  readonly refused: Counter<'limit'>;
  readonly queued: Counter<'limit'>;

  constructor(registry: Registry) {
    this.refused = new Counter({
      name: 'pierhead_refused_requests_total',
      help: 'Requests answered 429, by the limit that the caller was over.',
      labelNames: ['limit'],
      registers: [registry],
    });
    this.queued = new Counter({
      name: 'pierhead_queued_requests_total',
      help: 'Requests that waited for their turn, by the rate that the caller was over.',
      labelNames: ['limit'],
      registers: [registry],
    });
  }
}
