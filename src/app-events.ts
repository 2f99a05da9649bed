import type { BlobCacheEvents } from './cache/fills/blob-cache.ts';
import type { ListingEvents } from './cache/listings/listings.ts';
import type { ManifestCacheEvents } from './cache/manifests/manifest-cache.ts';
import type { VerdictEvents } from './cache/verdicts/verdict-cache.ts';
import { seconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import { repositoryKey } from './oci/repository-ref.ts';
import type { Log } from './observe/log.ts';
import type { KeeperMetrics } from './observe/metrics.ts';
import { Seldom } from './observe/seldom.ts';
import type { Stored } from './store/blob-index.ts';
import { StoreError } from './store/metadata-store.ts';
import type { UpstreamEvents } from './upstream/upstream.ts';

const WARN_INTERVAL = seconds(60);
/** With less than this part of an upstream's quota left, the operator is told. */
const LOW_QUOTA = 0.1;

/** What the keeper's parts tell of themselves, counted and logged. */
export class KeeperEvents {
  readonly #metrics: KeeperMetrics;
  readonly #log: Log;
  readonly #seldom = new Seldom(systemClock, WARN_INTERVAL);

  constructor(metrics: KeeperMetrics, log: Log) {
    this.#metrics = metrics;
    this.#log = log;
  }

  /** `progress` is the one event that others wait for. */
  blobs(progress: BlobCacheEvents['progress']): BlobCacheEvents {
    const metrics = this.#metrics;
    const log = this.#log;
    return {
      progress,
      received: (count) => metrics.upstreamBytes.inc(count),
      resumed: (digest, offset, cause) => {
        metrics.resumes.inc();
        log.info(
          { digest, offset, cause: cause instanceof Error ? cause.message : String(cause) },
          'fill resumed',
        );
      },
      refused: (digest, err) => {
        metrics.diskRefusals.inc();
        this.#seldom.run('disk', (leftOut) => log.warn({ digest, err, leftOut }, 'the disk refused a blob'));
      },
      started: (digest, repository, cause) => {
        metrics.misses.inc({ kind: 'blob', cause });
        log.debug({ digest, repository: repositoryKey(repository), cause }, 'fill started');
      },
      ended: (digest, outcome, size) => {
        metrics.fills.inc({ outcome });
        const level = outcome === 'stored' || outcome === 'stopped' ? 'debug' : 'warn';
        log[level]({ digest, outcome, size }, 'fill ended');
      },
      damaged: (digest) => {
        metrics.damaged.inc();
        log.error({ digest }, 'a stored blob was damaged: set aside, to be fetched again');
      },
      storeFailed: (error) => this.storeFailed(error),
    };
  }

  manifests(): ManifestCacheEvents {
    const log = this.#log;
    return {
      received: (count) => this.#metrics.upstreamBytes.inc(count),
      missed: (cause) => this.#metrics.misses.inc({ kind: 'manifest', cause }),
      rejected: (repository, error) => {
        this.#metrics.rejected.inc();
        log.warn({ repository: repositoryKey(repository), reason: error.message }, 'manifest refused');
      },
      unanswered: (repository, error) =>
        log.debug(
          { repository: repositoryKey(repository), reason: error.message },
          'upstream did not answer',
        ),
      storeFailed: (error) => this.storeFailed(error),
    };
  }

  listings(): ListingEvents {
    return {
      received: (count) => this.#metrics.upstreamBytes.inc(count),
      refused: (list, reason) => {
        this.#metrics.rejectedLists.inc();
        this.#seldom.run('list', (leftOut) => this.#log.warn({ list, reason, leftOut }, 'list refused'));
      },
      storeFailed: (error) => this.storeFailed(error),
    };
  }

  verdicts(): VerdictEvents {
    return {
      judged: (upstream, outcome) => this.#metrics.verdicts.inc({ upstream, outcome }),
      unanswered: (upstream, error) => {
        const { message: reason } = error;
        this.#seldom.run(`verdict of ${upstream}`, (leftOut) =>
          this.#log.warn({ upstream, reason, leftOut }, 'the upstream does not say who may read what'),
        );
      },
      // A shared store that cannot answer has told so itself.
      storeFailed: (error) => {
        if (!(error instanceof StoreError)) this.storeFailed(error);
      },
    };
  }

  upstreams(): UpstreamEvents {
    const metrics = this.#metrics;
    return {
      answered: (upstream, status, took) =>
        metrics.upstreamDuration.observe({ upstream, status }, took / 1000),
      failed: (upstream, kind) => metrics.upstreamFailures.inc({ upstream, kind }),
      tokenFetched: (upstream, outcome) => metrics.tokens.inc({ upstream, outcome }),
      tokenAnswered: (upstream, took) => metrics.tokenDuration.observe({ upstream }, took / 1000),
      credentialsFailed: (upstream, kind, reason) => {
        metrics.credentialFailures.inc({ upstream, kind });
        this.#seldom.run(`credentials ${kind} of ${upstream}`, (leftOut) =>
          this.#log.error({ upstream, kind, reason, leftOut }, 'no usable credentials'),
        );
      },
      quota: (upstream, { limit, remaining }) => {
        metrics.quotaLimit.set({ upstream }, limit);
        metrics.quotaRemaining.set({ upstream }, remaining);
        if (remaining >= limit * LOW_QUOTA) return;
        this.#seldom.run(`quota of ${upstream}`, (leftOut) =>
          this.#log.warn({ upstream, limit, remaining, leftOut }, 'the quota of pulls is nearly used up'),
        );
      },
      state: (upstream, url, healthy) =>
        this.#log.warn({ upstream, origin: new URL(url).origin, healthy }, 'upstream health changed'),
    };
  }

  evicted(stored: Stored): void {
    this.#metrics.evictions.inc({ kind: stored.kind });
    this.#metrics.evictedBytes.inc(stored.size);
  }

  storeFailed(err: unknown): void {
    this.#metrics.diskRefusals.inc();
    this.#seldom.run('store', (leftOut) => this.#log.warn({ err, leftOut }, 'the metadata store refused'));
  }
}
