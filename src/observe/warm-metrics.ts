import { Counter, Gauge, type Registry } from 'prom-client';

/** What is fetched before anybody asks for it, and what is kept for good. */
export class WarmMetrics {
  readonly runs: Counter<'outcome'>;
  readonly blobs: Counter<'outcome'>;
  readonly lastSuccess: Gauge<'schedule'>;

  constructor(registry: Registry, pinnedBytes: () => number) {
    const registers = [registry];
    this.runs = new Counter({
      name: 'pierhead_warm_runs_total',
      help: 'Runs of warm schedules, by outcome.',
      labelNames: ['outcome'],
      registers,
    });
    this.blobs = new Counter({
      name: 'pierhead_warm_blobs_total',
      help: 'Blobs that warming asked for, by outcome.',
      labelNames: ['outcome'],
      registers,
    });
    this.lastSuccess = new Gauge({
      name: 'pierhead_warm_last_success_timestamp_seconds',
      help: 'When a warm schedule last had all of its images, as the upstream has them.',
      labelNames: ['schedule'],
      registers,
    });
    const pinned: Gauge = new Gauge({
      name: 'pierhead_pinned_bytes',
      help: 'Bytes stored that are never evicted.',
      registers,
      collect: () => {
        pinned.set(pinnedBytes());
      },
    });
  }
}
