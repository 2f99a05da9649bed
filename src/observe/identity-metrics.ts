import { Counter, Gauge, type Registry } from 'prom-client';

/** Who callers are, as one process finds out. */
export class IdentityMetrics {
  readonly identified: Counter<'outcome'>;
  readonly sourceUp: Gauge<'source' | 'server'>;

  constructor(registry: Registry) {
    this.identified = new Counter({
      name: 'pierhead_identified_total',
      help: 'Credentials that callers have shown, by outcome.',
      labelNames: ['outcome'],
      registers: [registry],
    });
    this.sourceUp = new Gauge({
      name: 'pierhead_identity_source_up',
      help: '1 while a directory server or an issuer can be asked; 0 when any process cannot.',
      labelNames: ['source', 'server'],
      aggregator: 'min',
      registers: [registry],
    });
  }
}
