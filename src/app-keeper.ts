import type { AuditLog } from './audit/audit-log.ts';
import { createEvictor, filesystemOf, openStorage, type Storage } from './app-storage.ts';
import { joinSite, type SiteMembership } from './app-site.ts';
import { Warming } from './app-warm.ts';
import { createVerdicts } from './app-verdicts.ts';
import { KeeperEvents } from './app-events.ts';
import { CallerLimits } from './app-limits.ts';
import type { SiteStore, SiteStoreParts } from './app-redis.ts';
import { BlobCache } from './cache/fills/blob-cache.ts';
import type { Evictor } from './cache/eviction.ts';
import { FillRecords } from './cache/fills/fill-records.ts';
import { FILL_TIMES } from './cache/fills/fill.ts';
import { Inventory, type PurgeSelector } from './cache/inventory.ts';
import { KeeperCore } from './cache/keeper-core.ts';
import type { BlobQuestion } from './cache/keeper.ts';
import { KnownNames } from './cache/listings/known-names.ts';
import { Listings, type ListingsParts } from './cache/listings/listings.ts';
import { UpstreamRules } from './cache/manifests/freshness.ts';
import { ManifestCache } from './cache/manifests/manifest-cache.ts';
import { NegativeCache } from './cache/negative-cache.ts';
import type { Announcement } from './cache/site/announcement.ts';
import { tokenRecords } from './cache/token-records.ts';
import type { Config, UpstreamConfig } from './config/config.ts';
import { systemClock } from './lib/clock.ts';
import type { Log } from './observe/log.ts';
import { KeeperMetrics, type KeeperGauges } from './observe/metrics.ts';
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
  readonly rules: UpstreamRules;
  readonly records: FillRecords;
  /** What the last run left unfinished. */
  readonly leftFills: readonly BlobQuestion[];
  readonly sealingKey: Uint8Array;
  /** Undefined for an edge that shares nothing. */
  readonly site: SiteStore | undefined;
  readonly log: Log;
  readonly workers: () => number;
}

/** The keeper's parts, wired: the cache, its upstreams and its disk. */
export class EdgeKeeper {
  readonly core: KeeperCore;
  /** Tells the sibling edges what was purged. */
  readonly inventory: Inventory;
  readonly #quietInventory: Inventory;
  readonly metrics: KeeperMetrics;
  /** Accesses and what operators do; undefined where no record is kept. Set before the first worker serves. */
  audit: AuditLog | undefined;
  readonly warming: Warming;
  readonly #storage: Storage;
  readonly #site: SiteStore | undefined;
  readonly #membership: SiteMembership;
  readonly #manifests: ManifestCache;
  readonly #log: Log;
  readonly #events: KeeperEvents;
  readonly #upstreams: ReadonlyMap<string, Upstream>;
  readonly #evictor: Evictor;
  readonly #rules: UpstreamRules;
  readonly #limits: CallerLimits;
  #maxBytes: number;
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
    const rules = new UpstreamRules(config.upstreams);
    const site = await openSite(config, rules, { embedded: metadata.store, sealingKey, log });
    const storage = openStorage(
      layout,
      metadata,
      (error) => keeper.#events.storeFailed(error),
      (path) => log.error({ path }, 'the list of pins could not be read: set aside, nothing is pinned'),
      site?.store ?? metadata.store,
    );
    const keeper: EdgeKeeper = new EdgeKeeper(config, {
      storage,
      rules,
      records,
      leftFills,
      sealingKey: site?.tokenKey ?? sealingKey,
      site,
      log,
      workers,
    });
    return keeper;
  }

  private constructor(config: Config, parts: EdgeKeeperParts) {
    const { storage, log } = parts;
    const { index, links, manifests, files, store } = storage;
    const clock = systemClock;
    this.#storage = storage;
    this.#site = parts.site;
    this.#log = log;
    this.#leftFills = parts.leftFills;
    this.#rules = parts.rules;
    const rulesOf = parts.rules.of;
    this.#maxBytes = config.storage.maxSize;
    this.#limits = new CallerLimits(config.limits);
    this.metrics = new KeeperMetrics('keeper', this.#gauges(parts.workers));
    parts.site?.metrics.registerIn(this.metrics.registry);
    const events = new KeeperEvents(this.metrics, log);
    this.#events = events;
    this.#membership = joinSite(parts.site, log, {
      carryOut: (announcement) => this.#carryOut(announcement),
      missed: () => this.#manifests.doubtTags(storage.metadata.store),
    });
    const { site } = this.#membership;
    const tokens = new SealedTokenStore(tokenRecords(store, site.shared), parts.sealingKey);
    const asking = { clock, tokens, leases: site.leases, events: events.upstreams() };
    this.#upstreams = new Map(
      config.upstreams.map((options) => [options.name, new UpstreamClient(options, asking)]),
    );
    this.#evictor = createEvictor(storage, config.storage, (stored) => events.evicted(stored));
    const shared = {
      upstreams: this.#upstreams,
      links,
      departures: storage.departures,
      negative: new NegativeCache(clock, (upstream) => rulesOf(upstream).negative),
      clock,
    };
    this.#blobs = new BlobCache({
      ...shared,
      files,
      index,
      evictor: this.#evictor,
      places: this.#limits.places,
      records: parts.records,
      random: Math.random,
      times: FILL_TIMES,
      events: events.blobs((progress) => this.core.tellProgress(progress)),
    });
    this.#manifests = new ManifestCache({
      ...shared,
      manifests,
      metadata: store,
      site,
      rulesOf,
      events: events.manifests(),
    });
    const listings = new Listings({
      ...shared,
      ...listedUpstreams(config),
      manifests: this.#manifests,
      known: new KnownNames(store, clock, rulesOf),
      rulesOf,
      events: events.listings(),
    });
    const { site: shares, sealingKey } = parts;
    this.core = new KeeperCore({
      verdicts: createVerdicts(this.#upstreams, { shares, rulesOf, tokens, sealingKey, events }),
      blobs: this.#blobs,
      manifests: this.#manifests,
      listings,
      limits: this.#limits.ofQuestions({ ...shared, local: this.localMetadata, listings }),
      used: parts.site && this.#limits.overSite(parts.site.counters, (usage) => this.core.tellUsed(usage)),
      index,
      clock,
      received: (count) => this.metrics.upstreamBytes.inc(count),
      audit: (entries) => this.audit?.add(entries),
    });
    const inventory = { ...storage, metadata: store, clock };
    this.inventory = new Inventory({ ...inventory, purged: (selector) => this.#purged(selector) });
    this.#quietInventory = new Inventory(inventory);
    this.warming = new Warming(config, { core: this.core, storage, metrics: this.metrics, log });
    this.#announceUpstreams();
  }

  #gauges(workers: () => number): KeeperGauges {
    const { index, layout } = this.#storage;
    return {
      fillsRunning: () => this.#blobs.fillsRunning,
      storedBytes: () => index.bytes,
      storedObjects: () => index.count,
      maxBytes: () => this.#maxBytes,
      filesystem: () => filesystemOf(layout),
      workers,
    };
  }

  get upstreams(): { readonly name: string; readonly available: boolean }[] {
    return [...this.#upstreams].map(([name, { available }]) => ({ name, available }));
  }

  /** For a worker in this process. */
  get localMetadata(): LocalMetadata {
    return this.#storage.metadata.store;
  }

  /** All that can change while the edge serves: freshness and limits. Blobs over a new limit go with the next housekeeping. */
  reload({ upstreams, storage, limits, log }: Config): void {
    this.#rules.replace(upstreams);
    this.#limits.change(limits);
    this.#maxBytes = storage.maxSize;
    this.#evictor.limit({ maxBytes: storage.maxSize, highWatermark: storage.highWatermark });
    this.#log.level = log.level;
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
    // Not before: to take out everything, one has to know everything.
    this.#membership.listen();
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
    await this.#membership.close();
    const warmed = this.warming.stop();
    await this.#blobs.stop();
    await warmed;
    await this.audit?.close();
    await Promise.all([...this.#upstreams.values()].map((upstream) => upstream.close()));
    await this.#storage.index.flush();
    await this.#storage.store.close();
    await this.#site?.connection.close();
    await markCleanEnd(this.#storage.layout);
  }

  /** What another edge of the site has announced. */
  async #carryOut(announcement: Announcement): Promise<void> {
    if (announcement.kind === 'purge') {
      await this.#quietInventory.purge(announcement.selector);
      this.#forgetLists(announcement.selector);
    } else {
      await this.#manifests.forgetTag(announcement.repository, announcement.tag);
      this.core.parts.listings.forget(announcement.repository);
    }
  }

  async #purged(selector: PurgeSelector): Promise<void> {
    this.#forgetLists(selector);
    await this.#membership.site.announce({ kind: 'purge', selector });
  }

  #forgetLists(purged: PurgeSelector): void {
    const { listings } = this.core.parts;
    if (purged.kind === 'all') listings.forgetAll();
    else listings.forget(purged.repository);
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

function listedUpstreams({ upstreams }: Config): Pick<ListingsParts, 'catalogs' | 'pushed'> {
  return {
    catalogs: new Set(upstreams.filter(asksCatalog).map(({ name }) => name)),
    pushed: new Set(upstreams.filter(({ push }) => push).map(({ name }) => name)),
  };
}

/** A project's part of a registry cannot be told from the rest in its catalog: it is not asked for then. */
function asksCatalog({ catalog, urls }: UpstreamConfig): boolean {
  return catalog === true && urls.every((url) => new URL(url).pathname === '/');
}

/** The client of Redis is loaded only where there is one to ask. */
async function openSite(
  config: Config,
  rules: UpstreamRules,
  parts: SiteStoreParts,
): Promise<SiteStore | undefined> {
  if (config.redis === null) return undefined;
  const { openSiteStore } = await import('./app-redis.ts');
  return openSiteStore(config.redis, rules.of, parts);
}
