import { monitorEventLoopDelay } from 'node:perf_hooks';
import { AggregatorRegistry, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { LimitMetrics } from './limit-metrics.ts';
import { Savings } from './savings.ts';
import { TalliedCounter } from './tallied-counter.ts';

/** What a process hands over to be summed; plain data, fit for a message. */
export type MetricsSnapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

const SECONDS_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600];

/** What every process tells of itself. */
function processMetrics(registry: Registry, process: string): void {
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  const gauge: Gauge = new Gauge({
    name: 'pierhead_event_loop_delay_seconds',
    help: 'Event-loop delay since the last scrape, by process and quantile.',
    labelNames: ['process', 'quantile'],
    registers: [registry],
    collect: () => {
      for (const quantile of [50, 99]) {
        gauge.set({ process, quantile: String(quantile / 100) }, delay.percentile(quantile) / 1e9);
      }
      delay.reset();
    },
  });
  const memory: Gauge = new Gauge({
    name: 'pierhead_resident_memory_bytes',
    help: 'Resident memory, by process.',
    labelNames: ['process'],
    registers: [registry],
    collect: () => {
      memory.set({ process }, globalThis.process.memoryUsage.rss());
    },
  });
}

/** Counted where requests are answered. */
export class WorkerMetrics {
  readonly registry = new Registry();
  readonly #requests = new TalliedCounter({
    name: 'pierhead_requests_total',
    help: 'Requests answered, by route, status and cache result.',
    labelNames: ['route', 'status', 'cache'],
    registers: [this.registry],
  });
  readonly #duration = new Histogram({
    name: 'pierhead_request_duration_seconds',
    help: 'Time from a request to the end of its answer.',
    labelNames: ['route'],
    buckets: SECONDS_BUCKETS,
    registers: [this.registry],
  });
  readonly servedBytes = new Counter({
    name: 'pierhead_served_bytes_total',
    help: 'Body bytes sent to clients.',
    registers: [this.registry],
  });
  readonly savings = new Savings(this.registry);
  readonly limits = new LimitMetrics(this.registry);
  readonly pushedBytes = new Counter({
    name: 'pierhead_pushed_bytes_total',
    help: 'Body bytes of pushes passed on, by upstream.',
    labelNames: ['upstream'],
    registers: [this.registry],
  });
  readonly brokenAnswers = new Counter({
    name: 'pierhead_broken_answers_total',
    help: 'Answers that ended short of their length, by who broke off.',
    labelNames: ['by'],
    registers: [this.registry],
  });

  constructor(process: string) {
    processMetrics(this.registry, process);
  }

  answered(route: string, status: number, cache: string, durationMs: number): void {
    this.#requests.add(`${route} ${status} ${cache}`, 1, () => ({ route, status, cache }));
    this.#duration.observe({ route }, durationMs / 1000);
  }

  snapshot(): Promise<MetricsSnapshot> {
    return this.registry.getMetricsAsJSON();
  }
}

/** Read at each scrape. */
export interface KeeperGauges {
  readonly fillsRunning: () => number;
  readonly storedBytes: () => number;
  readonly storedObjects: () => number;
  readonly maxBytes: () => number;
  readonly filesystem: () => Promise<{ readonly totalBytes: number; readonly availableBytes: number }>;
  readonly workers: () => number;
}

/** Counted where the upstream is asked and the disk is kept. */
export class KeeperMetrics {
  readonly registry = new Registry();
  readonly fills = this.#counter('pierhead_fills_total', 'Fills ended, by outcome.', ['outcome']);
  readonly resumes = this.#counter(
    'pierhead_fill_resumes_total',
    'Fills that went on after a break or a restart.',
  );
  readonly diskRefusals = this.#counter(
    'pierhead_disk_refusals_total',
    'Times that the disk or the metadata store refused.',
  );
  readonly upstreamBytes = this.#counter(
    'pierhead_upstream_bytes_total',
    'Bytes of blobs, manifests and lists received from upstreams.',
  );
  readonly misses = this.#counter(
    'pierhead_misses_total',
    'Manifests and blobs that upstreams had to send, by cause.',
    ['kind', 'cause'],
  );
  readonly evictions = this.#counter('pierhead_evictions_total', 'Evicted objects, by kind.', ['kind']);
  readonly evictedBytes = this.#counter('pierhead_evicted_bytes_total', 'Bytes of evicted objects.');
  readonly rejected = this.#counter(
    'pierhead_rejected_manifests_total',
    'Manifests refused: wrong digest or broken rules.',
  );
  readonly rejectedLists = this.#counter(
    'pierhead_rejected_lists_total',
    'Lists of tags, referrers and repositories refused: too long, or not what they should be.',
  );
  readonly damaged = this.#counter(
    'pierhead_damaged_blobs_total',
    'Stored blobs that were not what their name says.',
  );
  readonly auditFailures = this.#counter(
    'pierhead_audit_failures_total',
    'Times that the audit log could not be written, and entries that are lost for it.',
  );
  readonly workerRestarts = this.#counter(
    'pierhead_worker_restarts_total',
    'Workers replaced after they died.',
  );
  readonly upstreamFailures = this.#counter(
    'pierhead_upstream_failures_total',
    'Upstream requests without an answer, by kind.',
    ['upstream', 'kind'],
  );
  readonly verdicts = this.#counter(
    'pierhead_verdicts_total',
    'What upstreams said to callers who wanted to read, by outcome.',
    ['upstream', 'outcome'],
  );
  readonly tokens = this.#counter('pierhead_upstream_tokens_total', 'Token requests, by outcome.', [
    'upstream',
    'outcome',
  ]);
  readonly tokenDuration = new Histogram({
    name: 'pierhead_upstream_token_duration_seconds',
    help: "Time to the headers of a token service's answer.",
    labelNames: ['upstream'],
    buckets: SECONDS_BUCKETS,
    registers: [this.registry],
  });
  readonly credentialFailures = this.#counter(
    'pierhead_credential_failures_total',
    'Credentials that could not be had or were refused, by kind.',
    ['upstream', 'kind'],
  );
  readonly quotaLimit = new Gauge({
    name: 'pierhead_upstream_quota_limit',
    help: 'Pulls that the upstream grants in its window of time, by its last answer.',
    labelNames: ['upstream'],
    registers: [this.registry],
  });
  readonly quotaRemaining = new Gauge({
    name: 'pierhead_upstream_quota_remaining',
    help: 'Pulls that are left of them, by its last answer.',
    labelNames: ['upstream'],
    registers: [this.registry],
  });
  readonly reloads = this.#counter(
    'pierhead_reloads_total',
    'Reloads of the configuration or of certificates, by outcome.',
    ['outcome'],
  );
  readonly configReloaded = new Gauge({
    name: 'pierhead_config_last_reload_successful',
    help: '0 while the configuration file holds something that the last reload refused.',
    registers: [this.registry],
  });
  readonly certificateExpiry = new Gauge({
    name: 'pierhead_certificate_expiry_timestamp_seconds',
    help: 'When a certificate that is served ends: server, ca, or the file of a further one.',
    labelNames: ['name'],
    registers: [this.registry],
  });
  readonly upstreamUp = new Gauge({
    name: 'pierhead_upstream_up',
    help: '1 while the upstream can be asked.',
    labelNames: ['upstream'],
    registers: [this.registry],
  });
  readonly upstreamDuration = new Histogram({
    name: 'pierhead_upstream_request_duration_seconds',
    help: 'Time to the headers of an upstream answer, by status.',
    labelNames: ['upstream', 'status'],
    buckets: SECONDS_BUCKETS,
    registers: [this.registry],
  });

  constructor(process: string, gauges: KeeperGauges) {
    processMetrics(this.registry, process);
    this.#gauge('pierhead_fills_running', 'Fills that run now.', gauges.fillsRunning);
    this.#gauge('pierhead_storage_bytes', 'Bytes stored.', gauges.storedBytes);
    this.#gauge('pierhead_storage_objects', 'Blobs and manifests stored.', gauges.storedObjects);
    this.#gauge('pierhead_storage_max_bytes', 'Bytes that may be stored.', gauges.maxBytes);
    this.#filesystem(gauges.filesystem);
    this.#gauge('pierhead_workers', 'Workers that serve now.', gauges.workers);
  }

  snapshot(): Promise<MetricsSnapshot> {
    return this.registry.getMetricsAsJSON();
  }

  #filesystem(read: KeeperGauges['filesystem']): void {
    const name = 'pierhead_storage_filesystem';
    const help = 'the file system of the storage folder.';
    const gauge = (
      suffix: string,
      what: string,
      pick: (found: Awaited<ReturnType<typeof read>>) => number,
    ): void => {
      const made: Gauge = new Gauge({
        name: `${name}_${suffix}`,
        help: `${what} ${help}`,
        registers: [this.registry],
        // A disk that cannot be asked leaves its last figure standing: that it refuses is counted elsewhere.
        collect: () =>
          read().then(
            (found) => made.set(pick(found)),
            () => undefined,
          ),
      });
    };
    gauge('bytes', 'Size of', ({ totalBytes }) => totalBytes);
    gauge('available_bytes', 'Free bytes on', ({ availableBytes }) => availableBytes);
  }

  #counter<Label extends string = never>(
    name: string,
    help: string,
    labelNames: Label[] = [],
  ): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  #gauge(name: string, help: string, read: () => number): void {
    const gauge: Gauge = new Gauge({
      name,
      help,
      registers: [this.registry],
      collect: () => {
        gauge.set(read());
      },
    });
  }
}

/** The sum over all processes in the Prometheus text format. */
export async function exposition(
  snapshots: readonly MetricsSnapshot[],
): Promise<{ contentType: string; text: string }> {
  const registry = AggregatorRegistry.aggregate([...snapshots]);
  return { contentType: registry.contentType, text: await registry.metrics() };
}

/** One snapshot instead of several, so that a long line of dead workers does not grow. */
export function merged(snapshots: readonly MetricsSnapshot[]): MetricsSnapshot {
  // What the aggregate holds are the summed snapshots themselves, although its type does not say so.
  return AggregatorRegistry.aggregate([...snapshots]).getMetricsAsArray() as unknown as MetricsSnapshot;
}

/** What a process that is gone has counted; its gauges went with it. */
export function countersOf(snapshot: MetricsSnapshot): MetricsSnapshot {
  return snapshot.filter(({ type }) => String(type) !== 'gauge');
}
