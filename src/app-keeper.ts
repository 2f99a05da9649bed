import { statfs } from 'node:fs/promises';
import { BlobCache, type BlobCacheEvents } from './cache/fills/blob-cache.ts';
import { Evictor, type Filesystem } from './cache/eviction.ts';
import { FillRecords } from './cache/fills/fill-records.ts';
import { FILL_TIMES } from './cache/fills/fill.ts';
import { Inventory } from './cache/inventory.ts';
import { KeeperCore } from './cache/keeper-core.ts';
import type { BlobQuestion } from './cache/keeper.ts';
import { Links } from './cache/links.ts';
import { Listings } from './cache/listings.ts';
import { ManifestCache, type ManifestCacheEvents } from './cache/manifests/manifest-cache.ts';
import { ManifestStore } from './cache/manifests/manifest-store.ts';
import { NegativeCache } from './cache/negative-cache.ts';
import { tokenRecords } from './cache/token-records.ts';
import type { Config } from './config/config.ts';
import { seconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import { repositoryKey } from './oci/repository-ref.ts';
import type { Log } from './observe/log.ts';
import { KeeperMetrics } from './observe/metrics.ts';
import { Seldom } from './observe/seldom.ts';
import { BlobFiles } from './store/blob-files.ts';
import { blobKey, BlobIndex, type Stored } from './store/blob-index.ts';
import type { StoreLayout } from './store/layout.ts';
import type { LocalMetadata } from './store/metadata-store.ts';
import { ManifestFiles } from './store/manifest-files.ts';
import { markCleanEnd, openMetadata, reconcile, type OpenedMetadata } from './store/recovery.ts';
import { readSealingKey } from './store/sealing-key.ts';
import { SealedTokenStore } from './upstream/sealed-token-store.ts';
import type { Upstream } from './upstream/upstream.ts';
import { UpstreamClient } from './upstream/upstream-client.ts';

const HOUSEKEEPING_MS = 10_000;
const WARN_INTERVAL = seconds(60);

/** The disk's side of the keeper: files, metadata, order, room. */
export interface Storage {
  readonly layout: StoreLayout;
  readonly metadata: OpenedMetadata;
  readonly files: BlobFiles;
  readonly links: Links;
  readonly index: BlobIndex;
  readonly manifestFiles: ManifestFiles;
  readonly manifests: ManifestStore;
}

interface EdgeKeeperParts {
  readonly storage: Storage;
  readonly records: FillRecords;
  /** What the last run left unfinished. */
  readonly leftFills: readonly BlobQuestion[];
  readonly sealingKey: Uint8Array;
  readonly log: Log;
  readonly workers: () => number;
}

/** The keeper's parts, wired: the cache, its upstreams and its disk. */
export class EdgeKeeper {
  readonly core: KeeperCore;
  readonly inventory: Inventory;
  readonly metrics: KeeperMetrics;
  readonly #storage: Storage;
  readonly #log: Log;
  readonly #seldom = new Seldom(systemClock, WARN_INTERVAL);
  readonly #upstreams: ReadonlyMap<string, Upstream>;
  readonly #evictor: Evictor;
  readonly #blobs: BlobCache;
  #housekeeping: NodeJS.Timeout | undefined;
  readonly #leftFills: readonly BlobQuestion[];
  #stopped = false;

  /** Opens the store; nothing is fetched or evicted before {@link settleIn}. */
  static async open(
    config: Config,
    layout: StoreLayout,
    log: Log,
    workers: () => number,
  ): Promise<EdgeKeeper> {
    const metadata = await openMetadata(layout, systemClock);
    if (metadata.quarantined !== undefined) {
      log.warn(
        { quarantined: metadata.quarantined },
        'the metadata was damaged: set aside, and rebuilt from the files',
      );
    }
    const records = new FillRecords(metadata.store.localRecords('fills'), layout.partial, systemClock);
    const leftFills = await records.left();
    const sealingKey = await readSealingKey(layout.sealingKey);
    const storage = openStorage(layout, metadata, (error) => keeper.#storeFailed(error));
    const keeper: EdgeKeeper = new EdgeKeeper(config, {
      storage,
      records,
      leftFills,
      sealingKey,
      log,
      workers,
    });
    return keeper;
  }

  private constructor(config: Config, parts: EdgeKeeperParts) {
    const { storage, log } = parts;
    const { index, links, manifests, files, metadata } = storage;
    const clock = systemClock;
    this.#storage = storage;
    this.#log = log;
    this.#leftFills = parts.leftFills;
    this.metrics = new KeeperMetrics('keeper', {
      fillsRunning: () => this.#blobs.fillsRunning,
      storedBytes: () => index.bytes,
      storedObjects: () => index.count,
      maxBytes: config.storage.maxSize,
      workers: parts.workers,
    });
    const tokens = new SealedTokenStore(tokenRecords(metadata.store), parts.sealingKey);
    this.#upstreams = this.#createUpstreams(config, tokens);
    this.#evictor = this.#createEvictor(config);
    const shared = {
      upstreams: this.#upstreams,
      links,
      negative: new NegativeCache(clock, config.freshness.negative),
      clock,
    };
    this.#blobs = new BlobCache({
      ...shared,
      files,
      index,
      evictor: this.#evictor,
      records: parts.records,
      random: Math.random,
      times: FILL_TIMES,
      events: this.#blobEvents(),
    });
    this.core = new KeeperCore({
      blobs: this.#blobs,
      manifests: new ManifestCache({
        ...shared,
        manifests,
        metadata: metadata.store,
        rules: config.freshness,
        events: this.#manifestEvents(),
      }),
      listings: new Listings(this.#upstreams),
      index,
      clock,
      received: (count) => this.metrics.upstreamBytes.inc(count),
    });
    this.inventory = new Inventory({ metadata: metadata.store, manifests, links, index, files, clock });
    this.#announceUpstreams();
  }

  /** For a worker in this process. */
  get localMetadata(): LocalMetadata {
    return this.#storage.metadata.store;
  }

  /** What can wait until clients are served: the index, the files it does not know, fills left by the last run. */
  async settleIn(): Promise<void> {
    const startedAt = performance.now();
    const { index, layout, metadata } = this.#storage;
    const leftFills = this.#leftFills;
    await index.load();
    const { added, dropped } = await reconcile(layout, index);
    if (!metadata.store.complete) await this.#restoreManifests();
    await this.#evictor.settle();
    this.#log.info(
      {
        objects: index.count,
        bytes: index.bytes,
        added,
        dropped,
        ms: Math.round(performance.now() - startedAt),
      },
      'index ready',
    );
    this.#housekeeping = setInterval(() => void this.#keepHouse(), HOUSEKEEPING_MS).unref();
    if (leftFills.length > 0) this.#log.info({ fills: leftFills.length }, 'resuming unfinished fills');
    await this.#blobs.resume(leftFills);
  }

  /** Ends fills (their partial files stay), writes what is pending, and closes the store. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#housekeeping);
    await this.#blobs.stop();
    await Promise.all([...this.#upstreams.values()].map((upstream) => upstream.close()));
    await this.#storage.index.flush();
    await this.#storage.metadata.store.close();
    await markCleanEnd(this.#storage.layout);
  }

  #createUpstreams(config: Config, tokens: SealedTokenStore): ReadonlyMap<string, Upstream> {
    const { metrics } = this;
    const events = {
      answered: (upstream: string, status: number, took: number) =>
        metrics.upstreamDuration.observe({ upstream, status }, took / 1000),
      failed: (upstream: string, kind: string) => metrics.upstreamFailures.inc({ upstream, kind }),
      tokenFetched: (upstream: string, outcome: string) => metrics.tokens.inc({ upstream, outcome }),
      state: (upstream: string, url: string, healthy: boolean) =>
        this.#log.warn({ upstream, origin: new URL(url).origin, healthy }, 'upstream health changed'),
    };
    return new Map(
      config.upstreams.map((options) => [
        options.name,
        new UpstreamClient(options, { clock: systemClock, tokens, events }),
      ]),
    );
  }

  #announceUpstreams(): void {
    for (const [name, upstream] of this.#upstreams) {
      this.metrics.upstreamUp.set({ upstream: name }, 1);
      upstream.onAvailability((available) => {
        this.metrics.upstreamUp.set({ upstream: name }, available ? 1 : 0);
        this.core.tellUpstream(name, available);
      });
    }
  }

  #blobEvents(): BlobCacheEvents {
    const { metrics } = this;
    const log = this.#log;
    return {
      progress: (progress) => this.core.tellProgress(progress),
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
      started: (digest, repository) =>
        log.debug({ digest, repository: repositoryKey(repository) }, 'fill started'),
      ended: (digest, outcome, size) => {
        metrics.fills.inc({ outcome });
        const level = outcome === 'stored' || outcome === 'stopped' ? 'debug' : 'warn';
        log[level]({ digest, outcome, size }, 'fill ended');
      },
      damaged: (digest) => {
        metrics.damaged.inc();
        log.error({ digest }, 'a stored blob was damaged: set aside, to be fetched again');
      },
      storeFailed: (error) => this.#storeFailed(error),
    };
  }

  #manifestEvents(): ManifestCacheEvents {
    const log = this.#log;
    return {
      received: (count) => this.metrics.upstreamBytes.inc(count),
      rejected: (repository, error) => {
        this.metrics.rejected.inc();
        log.warn({ repository: repositoryKey(repository), reason: error.message }, 'manifest refused');
      },
      unanswered: (repository, error) =>
        log.debug(
          { repository: repositoryKey(repository), reason: error.message },
          'upstream did not answer',
        ),
      storeFailed: (error) => this.#storeFailed(error),
    };
  }

  #createEvictor(config: Config): Evictor {
    const { index, files, links, manifests, layout } = this.#storage;
    const filesystem = async (): Promise<Filesystem> => {
      const { bsize, blocks, bavail } = await statfs(layout.root);
      return { totalBytes: blocks * bsize, availableBytes: bavail * bsize };
    };
    const remove = async (stored: Stored): Promise<void> => {
      if (stored.kind === 'manifest') return await manifests.remove(stored.digest);
      await files.remove(stored.digest);
      await index.remove(blobKey(stored.digest));
      await links.removeAll(stored.digest);
    };
    const { maxSize, highWatermark } = config.storage;
    const evicted = (stored: Stored): void => this.#countEviction(stored);
    return new Evictor({ index, filesystem, remove, evicted }, { maxBytes: maxSize, highWatermark });
  }

  #storeFailed(err: unknown): void {
    this.metrics.diskRefusals.inc();
    this.#seldom.run('store', (leftOut) => this.#log.warn({ err, leftOut }, 'the metadata store refused'));
  }

  #countEviction(stored: Stored): void {
    this.metrics.evictions.inc({ kind: stored.kind });
    this.metrics.evictedBytes.inc(stored.size);
  }

  async #restoreManifests(): Promise<void> {
    let restored = 0;
    for await (const { repository, digest } of this.#storage.manifestFiles.all()) {
      try {
        await this.#storage.manifests.restore(repository, digest);
        restored += 1;
      } catch (err) {
        this.#log.warn({ err, digest }, 'a manifest could not be restored');
      }
    }
    await this.#storage.metadata.store.markComplete();
    if (restored > 0) this.#log.info({ restored }, 'manifests restored from files');
  }

  async #keepHouse(): Promise<void> {
    try {
      await this.#storage.index.flush();
      if (!this.#stopped) await this.#evictor.settle();
    } catch (err) {
      this.#log.warn({ err }, 'housekeeping failed');
    }
  }
}

/** The parts over an opened metadata store that need nobody else. */
export function openStorage(
  layout: StoreLayout,
  metadata: OpenedMetadata,
  storeFailed: (error: unknown) => void,
): Storage {
  const { store } = metadata;
  const links = new Links(store);
  const index = new BlobIndex(store.localRecords('index'), systemClock);
  const manifestFiles = new ManifestFiles(layout);
  const manifests = new ManifestStore({
    metadata: store,
    links,
    files: manifestFiles,
    index,
    policies: [],
    notKept: (_digest, error) => storeFailed(error),
  });
  return { layout, metadata, files: new BlobFiles(layout), links, index, manifestFiles, manifests };
}
