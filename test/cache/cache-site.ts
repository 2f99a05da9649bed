import { readdir } from 'node:fs/promises';
import { BlobCache, type BlobCacheEvents } from '../../src/cache/fills/blob-cache.ts';
import type { BlobBody } from '../../src/cache/fills/blob-body.ts';
import { FILL_TIMES, type FillTimes } from '../../src/cache/fills/fill.ts';
import { FillRecords } from '../../src/cache/fills/fill-records.ts';
import { EdgeCache } from '../../src/cache/edge-cache.ts';
import { Evictor, type Filesystem } from '../../src/cache/eviction.ts';
import { KeeperCore, type KeeperSession } from '../../src/cache/keeper-core.ts';
import { UnknownLimits } from '../../src/cache/limits/question-limits.ts';
import { Links } from '../../src/cache/links.ts';
import { KnownNames } from '../../src/cache/listings/known-names.ts';
import { Listings } from '../../src/cache/listings/listings.ts';
import { LocalCache } from '../../src/cache/local-cache.ts';
import type { FreshnessRules } from '../../src/cache/manifests/freshness.ts';
import { ManifestCache } from '../../src/cache/manifests/manifest-cache.ts';
import { ManifestStore } from '../../src/cache/manifests/manifest-store.ts';
import { NegativeCache } from '../../src/cache/negative-cache.ts';
import { VerdictCache } from '../../src/cache/verdicts/verdict-cache.ts';
import { NO_VERDICT_STORE, type VerdictStore } from '../../src/cache/verdicts/verdict-records.ts';
import { ALONE, type Site } from '../../src/cache/site/site.ts';
import { tokenRecords } from '../../src/cache/token-records.ts';
import { Departures } from '../../src/cache/departures.ts';
import { Inventory } from '../../src/cache/inventory.ts';
import { Pins } from '../../src/cache/pins/pins.ts';
import { Warmer } from '../../src/cache/warm/warmer.ts';
import { MiB, ms, seconds } from '../../src/lib/brand.ts';
import type { Places } from '../../src/lib/limits/places.ts';
import type { Usage } from '../../src/lib/limits/usage.ts';
import { ReadBudget } from '../../src/lib/read-budget.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import type { GrantedRepository } from '../../src/oci/granted.ts';
import { parseReference, type Reference } from '../../src/oci/reference.ts';
import { parseRepositoryName } from '../../src/oci/repository-name.ts';
import { BlobFiles } from '../../src/store/blob-files.ts';
import { blobKey, BlobIndex, manifestKey, type Stored } from '../../src/store/blob-index.ts';
import { EmbeddedStore } from '../../src/store/embedded-store.ts';
import { StoreLayout } from '../../src/store/layout.ts';
import type { MetadataStore } from '../../src/store/metadata-store.ts';
import { ManifestFiles } from '../../src/store/manifest-files.ts';
import { PinFile } from '../../src/store/pin-file.ts';
import { UpstreamClient } from '../../src/upstream/upstream-client.ts';
import type { Central } from '../support/central.ts';
import { tempFolder, type Teardown } from '../support/temp.ts';

export { readAll, readPart } from './read-blob.ts';

export interface SiteOptions {
  readonly folder?: string;
  readonly clock?: Clock;
  readonly maxBytes?: number;
  readonly highWatermark?: number;
  readonly filesystem?: () => Promise<Filesystem>;
  readonly rules?: Partial<FreshnessRules>;
  readonly times?: Partial<FillTimes>;
  readonly files?: (layout: StoreLayout) => BlobFiles;
  /** What callers used here; told to the other edges. */
  readonly used?: (usage: Usage) => void;
  /** What each caller may ask in vain, per second. */
  readonly unknownPerSecond?: number;
  /** Of callers, for fills. */
  readonly places?: Places;
  readonly asksCatalog?: boolean;
  /** Clients push to the central through this edge. */
  readonly pushed?: boolean;
  /** What the edge itself shows the central. */
  readonly credentials?: { readonly username: string; readonly password: string };
  /** Where verdicts are shared with other edges. */
  readonly verdicts?: VerdictStore;
  /** What several of them share: one edge of a site each. */
  readonly sharing?: (embedded: EmbeddedStore, rules: FreshnessRules) => Sharing;
}

export interface Sharing {
  readonly store: MetadataStore;
  readonly site: Site;
}

const RULES: FreshnessRules = {
  tag: seconds(60),
  deadline: seconds(1),
  staleIfError: seconds(30 * 24 * 3600),
  negative: seconds(15),
  verdict: seconds(60),
  verdictGrace: ms(0),
};
const QUICK: FillTimes = { ...FILL_TIMES, patience: ms(1500), firstPause: ms(5), longestPause: ms(50) };

/** The cache of one edge without its processes and sockets: real store, real upstream client, real central. */
export class CacheSite {
  readonly folder: string;
  readonly layout: StoreLayout;
  readonly store: EmbeddedStore;
  readonly files: BlobFiles;
  readonly index: BlobIndex;
  readonly links: Links;
  readonly manifests: ManifestStore;
  readonly blobs: BlobCache;
  readonly evictor: Evictor;
  readonly manifestCache: ManifestCache;
  readonly core: KeeperCore;
  readonly inventory: Inventory;
  readonly pins: Pins;
  readonly warmer: Warmer;
  readonly records: FillRecords;
  readonly upstream: UpstreamClient;
  readonly verdicts: VerdictCache;
  readonly happened: string[] = [];
  /** Why upstreams were asked for content, in order. */
  readonly misses: string[] = [];
  readonly departures = new Departures();
  readonly #options: SiteOptions;
  readonly #metadata: MetadataStore;
  /** The system clock's sleeps hold no process; an edge's listeners do, and here this does. */
  readonly #hold = setInterval(() => undefined, 60_000);
  readonly #edges: { edge: EdgeCache; session: KeeperSession }[] = [];

  private constructor(folder: string, central: Central, options: SiteOptions) {
    const clock = options.clock ?? systemClock;
    this.folder = folder;
    this.#options = options;
    this.layout = new StoreLayout(folder);
    this.store = new EmbeddedStore(this.layout.meta, { clock });
    this.files = options.files?.(this.layout) ?? new BlobFiles(this.layout);
    this.index = new BlobIndex(this.store.localRecords('index'), clock);
    const { store, site } = options.sharing?.(this.store, this.rules) ?? { store: this.store, site: ALONE };
    this.#metadata = store;
    this.links = new Links(store);
    this.records = new FillRecords(this.store.localRecords('fills'), this.layout.partial, clock);
    this.manifests = new ManifestStore({
      metadata: store,
      local: this.store,
      links: this.links,
      files: new ManifestFiles(this.layout),
      index: this.index,
      policies: [],
      notKept: (digest, error) => this.#note(`not kept ${digest} ${String(error)}`),
    });
    const tokens = tokenRecords(store, site.shared);
    this.upstream = new UpstreamClient(
      { name: 'central', urls: [central.url], authHosts: [], credentials: options.credentials },
      { clock, tokens, leases: site.leases },
    );
    const upstreams = new Map([['central', this.upstream]]);
    this.evictor = new Evictor(
      {
        index: this.index,
        filesystem: options.filesystem ?? (async () => ({ totalBytes: 1e12, availableBytes: 9e11 })),
        remove: (stored) => this.#remove(stored),
        evicted: (stored) => this.#note(`evicted ${stored.digest}`),
      },
      { maxBytes: options.maxBytes ?? 1e12, highWatermark: options.highWatermark ?? 0.9 },
    );
    const negative = new NegativeCache(clock, () => this.rules.negative);
    const { links, departures } = this;
    const shared = { upstreams, links, departures, negative, clock };
    this.blobs = new BlobCache({
      ...shared,
      files: this.files,
      index: this.index,
      evictor: this.evictor,
      records: this.records,
      places: options.places,
      random: () => 0.5,
      times: { ...QUICK, ...options.times },
      events: this.#events(),
    });
    this.manifestCache = new ManifestCache({
      ...shared,
      manifests: this.manifests,
      metadata: store,
      rulesOf: () => this.rules,
      site,
      events: {
        received: () => undefined,
        missed: (cause) => void this.misses.push(`manifest: ${cause}`),
        rejected: (_repository, error) => this.#note(`rejected ${error.message}`),
        unanswered: (_repository, error) => this.#note(`unanswered ${error.kind}`),
        storeFailed: (error) => this.#note(`store failed ${String(error)}`),
      },
    });
    this.verdicts = new VerdictCache({
      upstreams,
      rulesOf: () => this.rules,
      clock,
      store: options.verdicts ?? NO_VERDICT_STORE,
      doors: tokens,
      secret: Buffer.alloc(32, 7),
      events: {
        judged: (_upstream, outcome) => this.#note(`verdict ${outcome}`),
        unanswered: (_upstream, error) => this.#note(`unanswered ${error.kind}`),
        storeFailed: (error) => this.#note(`store failed ${String(error)}`),
      },
    });
    const { index } = this;
    const received = (): void => undefined;
    const listings = new Listings({
      ...shared,
      manifests: this.manifestCache,
      known: new KnownNames(store, clock, () => this.rules),
      rulesOf: () => this.rules,
      catalogs: new Set(options.asksCatalog === true ? ['central'] : []),
      pushed: new Set(options.pushed === true ? ['central'] : []),
      events: {
        received: () => undefined,
        refused: (list, reason) => this.#note(`refused ${list}: ${reason}`),
        storeFailed: (error) => this.#note(`store failed ${String(error)}`),
      },
    });
    const unknown = options.unknownPerSecond;
    this.core = new KeeperCore({
      blobs: this.blobs,
      manifests: this.manifestCache,
      listings,
      verdicts: this.verdicts,
      limits:
        unknown === undefined
          ? undefined
          : new UnknownLimits(unknown, { ...shared, local: this.store, listings }),
      used: options.used,
      index,
      clock,
      received,
      audit: () => undefined,
    });
    this.pins = new Pins({
      file: new PinFile(this.layout),
      manifests: this.manifests,
      metadata: this.store,
      index,
      clock,
      setAside: (path) => this.#note(`pins set aside ${path}`),
    });
    this.warmer = new Warmer({
      core: this.core,
      index,
      pins: this.pins,
      shelf: { manifests: this.manifests, index },
      host: { os: 'linux', architecture: 'amd64' },
      clock,
      random: () => 0.5,
      times: { tries: 3, firstPause: ms(5), growth: 2 },
      blobEnded: (outcome) => this.#note(`warmed ${outcome}`),
    });
    this.inventory = new Inventory({
      pins: this.pins,
      metadata: store,
      manifests: this.manifests,
      links: this.links,
      departures,
      index,
      files: this.files,
      clock,
    });
    this.upstream.onAvailability((available) => this.core.tellUpstream('central', available));
  }

  /** Ended with the test; `close` before that for a restart on the same folder. */
  static async open(t: Teardown, central: Central, options: SiteOptions = {}): Promise<CacheSite> {
    const folder = options.folder ?? tempFolder(t, 'site');
    await new StoreLayout(folder).create();
    const site = new CacheSite(folder, central, options);
    await site.pins.load();
    await site.index.load();
    t.teardown(() => site.close());
    return site;
  }

  get rules(): FreshnessRules {
    return { ...RULES, ...this.#options.rules };
  }

  /** A worker's view; several stand for several workers. */
  worker(): EdgeCache {
    const late: { edge?: EdgeCache } = {};
    const session = this.core.connect((event) => late.edge?.on(event));
    const local = new LocalCache({
      metadata: this.store,
      files: this.files,
      clock: this.#options.clock ?? systemClock,
      rulesOf: () => this.rules,
      storeFailed: (error) => this.#note(`store failed ${String(error)}`),
    });
    const edge = new EdgeCache(local, session, this.files, new ReadBudget(48 * MiB));
    late.edge = edge;
    this.#edges.push({ edge, session });
    return edge;
  }

  #closed: Promise<void> | undefined;

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    const warmed = this.warmer.stop();
    await this.blobs.stop();
    await warmed;
    for (const { edge, session } of this.#edges) {
      edge.close();
      session.close();
    }
    await this.upstream.close();
    await this.index.flush();
    await this.#metadata.close();
    clearInterval(this.#hold);
  }

  /** Names of the files that running or broken fills have left. */
  partials(): Promise<string[]> {
    return readdir(this.layout.partial);
  }

  async stored(digest: Digest): Promise<boolean> {
    const file = await this.files.open(digest);
    await file?.close();
    return file !== undefined;
  }

  #events(): BlobCacheEvents {
    return {
      progress: (progress) => this.core.tellProgress(progress),
      received: () => undefined,
      resumed: (_digest, offset) => this.#note(`resumed at ${offset}`),
      refused: (_digest, error) =>
        this.#note(`refused ${(error as NodeJS.ErrnoException).code ?? String(error)}`),
      started: (_digest, _repository, cause) => {
        this.misses.push(`blob: ${cause}`);
        this.#note('started');
      },
      damaged: () => this.#note('damaged'),
      ended: (_digest, outcome) => this.#note(`ended ${outcome}`),
      storeFailed: (error) => this.#note(`store failed ${String(error)}`),
    };
  }

  async #remove(stored: Stored): Promise<void> {
    if (stored.kind === 'manifest') {
      await this.manifests.remove(stored.digest);
      this.departures.note(manifestKey(stored.digest), 'evicted');
      return;
    }
    await this.files.remove(stored.digest);
    await this.index.remove(blobKey(stored.digest));
    await this.links.removeAll(stored.digest);
    this.departures.note(blobKey(stored.digest), 'evicted');
  }

  #note(what: string): void {
    this.happened.push(what);
  }
}

/** @param authorization what a caller shows; without it the edge asks as itself. */
export function repository(name: string, authorization?: string): GrantedRepository {
  const parsed = parseRepositoryName(name);
  if (parsed === undefined) throw new Error(`not a repository: ${name}`);
  const asker = authorization === undefined ? undefined : { caller: 'test', authorization };
  return { upstream: 'central', name: parsed, ...(asker && { asker }) } as GrantedRepository;
}

export function digest(text: string): Digest {
  const parsed = parseDigest(text);
  if (parsed === undefined) throw new Error(`not a digest: ${text}`);
  return parsed;
}

export function reference(text: string): Reference {
  const parsed = parseReference(text);
  if (parsed === undefined) throw new Error(`not a reference: ${text}`);
  return parsed;
}

/** The body of a blob that must be had. */
export async function bodyOf(edge: EdgeCache, name: string, of: string): Promise<BlobBody> {
  const found = await edge.blob(repository(name), digest(of));
  if (found.kind !== 'blob') throw new Error(`no blob: ${JSON.stringify(found)}`);
  return found.body;
}
