import { Counter, Gauge, type Registry } from 'prom-client';

/** Counted where connections are accepted. */
export class ConnectionMetrics {
  readonly refused: Counter<'reason'>;
  readonly closed: Counter<'reason'>;

  constructor(registry: Registry, open: () => readonly (readonly [listener: string, count: number])[]) {
    const registers = [registry];
    const labelNames = ['reason'] as const;
    this.refused = new Counter({
      name: 'pierhead_refused_connections_total',
      help: 'Connections closed before TLS, by reason: network (access.allow and access.deny), address and listener (the limits), proxy (no PROXY header).',
      labelNames,
      registers,
    });
    this.closed = new Counter({
      name: 'pierhead_closed_connections_total',
      help: 'Open connections closed, by reason: idle and unasked (to make room at a limit), slow (reads below limits.minRate), pipelined (over 100 requests at once).',
      labelNames,
      registers,
    });
    const gauge: Gauge = new Gauge({
      name: 'pierhead_connections',
      help: 'Connections that are open now, by listener.',
      labelNames: ['listener'],
      registers,
      collect: () => {
        for (const [listener, count] of open()) gauge.set({ listener }, count);
      },
    });
  }
}
