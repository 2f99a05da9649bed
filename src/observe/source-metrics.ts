import { Gauge, type Registry } from 'prom-client';

/** Servers that know who people are, as one worker sees them. */
export class SourceMetrics {
  readonly up = new Gauge({
    name: 'pierhead_identity_source_up',
    help: '1 while a directory server or an issuer can be asked; 0 when any worker cannot.',
    labelNames: ['source', 'server'],
    aggregator: 'min',
    registers: [],
  });

  registerIn(registry: Registry): void {
    registry.registerMetric(this.up);
  }
}
