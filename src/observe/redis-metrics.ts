import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Around the default `redis.timeout` of 100 ms. */
const SECONDS_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];

/** What the keeper's connection to the shared store tells; there only when there is one. */
export class RedisMetrics {
  readonly up = new Gauge({
    name: 'pierhead_redis_up',
    help: '1 while the shared store can be asked.',
    registers: [],
  });
  readonly duration = new Histogram({
    name: 'pierhead_redis_request_duration_seconds',
    help: 'Time to an answer of the shared store, by operation.',
    labelNames: ['operation'],
    buckets: SECONDS_BUCKETS,
    registers: [],
  });
  readonly failures = new Counter({
    name: 'pierhead_redis_failures_total',
    help: 'Questions to the shared store without a usable answer, by kind; each is a miss.',
    labelNames: ['kind'],
    registers: [],
  });
  readonly droppedWrites = new Counter({
    name: 'pierhead_redis_dropped_writes_total',
    help: 'Writes that did not reach the shared store.',
    registers: [],
  });

  readonly announcements = new Counter({
    name: 'pierhead_site_announcements_total',
    help: 'Purges and dropped tags between the edges of the site, by what became of them here.',
    labelNames: ['outcome'],
    registers: [],
  });

  /** The connection is opened before the keeper has its metrics. */
  registerIn(registry: Registry): void {
    registry.registerMetric(this.up);
    registry.registerMetric(this.duration);
    registry.registerMetric(this.failures);
    registry.registerMetric(this.droppedWrites);
    registry.registerMetric(this.announcements);
  }
}
