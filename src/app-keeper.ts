import { createEvictor, openStorage, type Storage } from './app-storage.ts';
import { Warming } from './app-warm.ts';
import { KeeperEvents } from './app-events.ts';
import { BlobCache } from './cache/fills/blob-cache.ts';
import type { Evictor } from './cache/eviction.ts';
import { FillRecords } from './cache/fills/fill-records.ts';
import { FILL_TIMES } from './cache/fills/fill.ts';
import { Inventory } from './cache/inventory.ts';
import { KeeperCore } from './cache/keeper-core.ts';
import type { BlobQuestion } from './cache/keeper.ts';
import { Listings } from './cache/listings.ts';
import { ManifestCache } from './cache/manifests/manifest-cache.ts';
import { NegativeCache } from './cache/negative-cache.ts';
import { tokenRecords } from './cache/token-records.ts';
import type { Config } from './config/config.ts';
import { systemClock } from './lib/clock.ts';
import type { Log } from './observe/log.ts';
import { KeeperMetrics } from './observe/metrics.ts';
import type { StoreLayout } from './store/layout.ts';
import type { LocalMetadata } from './store/metadata-store.ts';
import { markCleanEnd, openMetadata, reconcile } from './store/recovery.ts';
import { readSealingKey } from './store/sealing-key.ts';
import { SealedTokenStore } from './upstream/sealed-token-store.ts';
import type { Upstream } from './upstream/upstream.ts';
import { UpstreamClient } from './upstream/upstream-client.ts';

const HOUSEKEEPING_MS = 10_000;

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
  readonly warming: Warming;
  readonly #storage: Storage;
  readonly #log: Log;
  readonly #events: KeeperEvents;
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
    const storage = openStorage(
      layout,
      metadata,
      (error) => keeper.#events.storeFailed(error),
      (path) => log.error({ path }, 'the list of pins could not be read: set aside, nothing is pinned'),
    );
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
    const events = new KeeperEvents(this.metrics, log);
    this.#events = events;
    const tokens = new SealedTokenStore(tokenRecords(metadata.store), parts.sealingKey);
    this.#upstreams = new Map(
      config.upstreams.map((options) => [
        options.name,
        new UpstreamClient(options, { clock, tokens, events: events.upstreams() }),
      ]),
    );
    this.#evictor = createEvictor(storage, config.storage, (stored) => events.evicted(stored));
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
      events: events.blobs((progress) => this.core.tellProgress(progress)),
    });
    this.core = new KeeperCore({
      blobs: this.#blobs,
      manifests: new ManifestCache({
        ...shared,
        manifests,
        metadata: metadata.store,
        rules: config.freshness,
        events: events.manifests(),
      }),
      listings: new Listings(this.#upstreams),
      index,
      clock,
      received: (count) => this.metrics.upstreamBytes.inc(count),
    });
    this.inventory = new Inventory({ ...storage, metadata: metadata.store, clock });
    this.warming = new Warming(config, { core: this.core, storage, metrics: this.metrics, log });
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
    // Eviction starts with the index: by then it has to know what it may not take.
    await this.#storage.pins.load();
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
    this.warming.start();
  }

  /** Ends fills (their partial files stay), writes what is pending, and closes the store. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#housekeeping);
    const warmed = this.warming.stop();
    await this.#blobs.stop();
    await warmed;
    await Promise.all([...this.#upstreams.values()].map((upstream) => upstream.close()));
    await this.#storage.index.flush();
    await this.#storage.metadata.store.close();
    await markCleanEnd(this.#storage.layout);
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
      this.warming.watchPins();
    } catch (err) {
      this.#log.warn({ err }, 'housekeeping failed');
    }
  }
}
