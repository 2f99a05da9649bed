import type { IncomingMessage } from 'node:http';
import { createAccess, type AccessSettings, type InForce } from './app-access.ts';
import { identityEvents } from './app-identity-events.ts';
import { AuditOutbox } from './audit/audit-outbox.ts';
import { RateLimits } from './access/limits/rate-limits.ts';
import { ListenerNetworks } from './access/listener-networks.ts';
import { acceptConnections } from './app-connections.ts';
import { EdgeCache } from './cache/edge-cache.ts';
import type { Keeper, KeeperEvent } from './cache/keeper.ts';
import { LocalCache } from './cache/local-cache.ts';
import { KnownVerdicts } from './registry/verdicts/known-verdicts.ts';
import { UpstreamRules } from './cache/manifests/freshness.ts';
import { serveKeeper } from './cluster/worker-channel.ts';
import type { FreshnessConfig, ListenAddress, LogLevel } from './config/config.ts';
import { MiB, seconds, type Milliseconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import { createLog, type Log } from './observe/log.ts';
import { WorkerMetrics, type MetricsSnapshot } from './observe/metrics.ts';
import { Seldom } from './observe/seldom.ts';
import type { UpstreamNames } from './registry/select-upstream.ts';
import { clientOf } from './server/connections/client-of.ts';
import type { ConnectionLimits, Connections } from './server/connections/connections.ts';
import { shareOf } from './server/connections/share.ts';
import { listenPlain, listenSecure, type Listener, type ListenerParts } from './server/listeners.ts';
import { Hits } from './server/hit-lane/hits.ts';
import { Pipeline } from './server/pipeline.ts';
import { RequestRecords } from './server/records/request-records.ts';
import type { PushTarget } from './server/pushing/push-proxy.ts';
import { Pushes } from './server/pushing/pushes.ts';
import { ReadBudget } from './lib/read-budget.ts';
import { BlobFiles } from './store/blob-files.ts';
import { EmbeddedStore } from './store/embedded-store.ts';
import { StoreLayout } from './store/layout.ts';
import type { LocalMetadata } from './store/metadata-store.ts';
import { pushDoor } from './upstream/push-agent.ts';
import { ServerContexts, type NamedPair } from './tls/serving/server-contexts.ts';

/** Everything a worker needs to know: plain data, without the credentials of upstreams. */
export interface WorkerSettings {
  readonly http: ListenAddress | null;
  readonly https: (ListenAddress & TlsSettings) | null;
  readonly storagePath: string;
  readonly upstreams: readonly (UpstreamNames & { readonly freshness: FreshnessConfig })[];
  readonly pushes: PushSettings;
  readonly guard: AccessSettings;
  readonly logLevel: LogLevel;
  /** How many there are. */
  readonly workers: number;
  /** Whether accesses go on record. */
  readonly audit: boolean;
}

/** Where pushes go: none of the edge's credentials, since clients push with their own. */
export interface PushSettings {
  readonly upstreams: readonly {
    readonly name: string;
    readonly url: string;
    readonly ca: string | undefined;
    readonly authHosts: readonly string[];
  }[];
  readonly sessionKey: Uint8Array;
}

export interface TlsSettings extends NamedPair {
  readonly further: readonly NamedPair[];
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Set where clients may show certificates. */
  readonly clients?: { readonly ca: string; readonly crl?: string };
  /** Base64: 48 octets, the same in all workers, so that a client's session goes on in whichever it reaches. */
  readonly ticketKeys: string;
}

/** Buffers for reading blobs, of one worker. */
const READ_BUDGET_BYTES = 24 * MiB;
const WARN_INTERVAL: Milliseconds = seconds(60);
/** After SIGTERM, what is still being sent may go on for so long. */
export const DRAIN_GRACE: Milliseconds = seconds(30);

/** One worker: the listeners, and what answers behind them. The same in a process of its own and inside the keeper's. */
export class EdgeWorker {
  readonly #cache: EdgeCache;
  readonly #metrics: WorkerMetrics;
  readonly #listenerParts: Omit<ListenerParts, 'networks'>;
  readonly #connections: Connections;
  readonly #networks: Readonly<Record<'http' | 'https', ListenerNetworks>>;
  readonly #settings: WorkerSettings;
  readonly #audit: AuditOutbox | undefined;
  readonly #log: Log;
  /** In force now: {@link reload} replaces them. */
  readonly #rules: UpstreamRules;
  #inForce: InForce;
  /** What callers have used outlives a reload, and so does what upstreams have said of them. */
  readonly #limits: RateLimits;
  readonly #verdicts: KnownVerdicts;
  readonly #createAccess: (guard: AccessSettings) => InForce;
  readonly #ownStore: EmbeddedStore | undefined;
  readonly #pushTargets: ReadonlyMap<string, PushTarget>;
  #listeners: { plain?: Listener; secure?: Listener } = {};

  /** `store` is shared when the keeper is in this process; otherwise the worker opens its own view of it. */
  constructor(settings: WorkerSettings, keeper: Keeper, name: string, store?: LocalMetadata) {
    const layout = new StoreLayout(settings.storagePath);
    const log = createLog(settings.logLevel, name);
    this.#log = log;
    this.#rules = new UpstreamRules(settings.upstreams);
    this.#verdicts = new KnownVerdicts(keeper, systemClock);
    this.#metrics = new WorkerMetrics(name);
    this.#limits = new RateLimits(settings.guard.limits, {
      clock: systemClock,
      tell: (usage) => keeper.used(usage),
      queued: (limit) => this.#metrics.limits.queued.inc({ limit }),
    });
    const seldom = new Seldom(systemClock, WARN_INTERVAL);
    const files = new BlobFiles(layout);
    this.#ownStore =
      store === undefined
        ? new EmbeddedStore(layout.meta, { clock: systemClock, readOnly: true })
        : undefined;
    const metadata = store ?? this.#ownStore;
    if (metadata === undefined) throw new Error('a worker needs a metadata store');
    const local = new LocalCache({
      metadata,
      files,
      clock: systemClock,
      rulesOf: this.#rules.of,
      storeFailed: (err) =>
        seldom.run('store', (leftOut) => log.warn({ err, leftOut }, 'the store cannot be read')),
    });
    this.#settings = settings;
    this.#cache = new EdgeCache(local, keeper, files, new ReadBudget(READ_BUDGET_BYTES));
    const events = identityEvents(this.#metrics.registry, log);
    this.#createAccess = (guard) =>
      createAccess(guard, { limits: this.#limits, events, verdicts: this.#verdicts });
    this.#inForce = this.#createAccess(settings.guard);
    this.#inForce.start();
    this.#audit = settings.audit
      ? new AuditOutbox(systemClock, (entries) => keeper.audit(entries))
      : undefined;
    this.#pushTargets = pushTargets(settings.pushes);
    const { access } = settings.guard;
    this.#networks = {
      http: new ListenerNetworks('http', access),
      https: new ListenerNetworks('https', access),
    };
    this.#connections = acceptConnections(this.#networks, {
      limits: connectionLimits(settings),
      registry: this.#metrics.registry,
      log,
      turnedAway: (client) => this.#audit?.turnedAway(client),
    });
    const pipelineParts = {
      inForce: () => this.#inForce,
      clientOf: (request: IncomingMessage) => clientOf(request, this.#connections),
      cache: this.#cache,
      upstreams: settings.upstreams,
      pushes: new Pushes({
        targets: this.#pushTargets,
        upstreams: settings.upstreams,
        cache: this.#cache,
        minRate: () => this.#connections.minRate,
        clock: systemClock,
        log,
        metrics: this.#metrics,
      }),
      clock: systemClock,
      log,
      records: new RequestRecords({ clock: systemClock, log, metrics: this.#metrics, audit: this.#audit }),
    };
    this.#listenerParts = {
      pipeline: new Pipeline(pipelineParts),
      hits: new Hits({ ...pipelineParts, connections: this.#connections }),
      connections: this.#connections,
      clock: systemClock,
      pushes: this.#pushTargets.size > 0,
      admits: (certificate) => this.#inForce.admits(certificate),
    };
  }

  /** Resolves when every listener accepts. @throws the socket's error. */
  async listen(): Promise<{ http?: ListenAddress; https?: ListenAddress }> {
    const { http, https } = this.#settings;
    if (http !== null)
      this.#listeners.plain = await listenPlain(http, {
        ...this.#listenerParts,
        networks: this.#networks.http,
      });
    if (https !== null) {
      this.#listeners.secure = await listenSecure(https, contextsOf(https), {
        ...this.#listenerParts,
        networks: this.#networks.https,
      });
    }
    const { plain, secure } = this.#listeners;
    return { ...(plain && { http: plain.address }), ...(secure && { https: secure.address }) };
  }

  on(event: KeeperEvent): void {
    if (event.kind === 'usage') this.#limits.used(event.usage, event.by);
    else this.#cache.on(event);
  }

  /**
   * All that can change while connections are open; addresses, storage and upstreams stay as they were at the start. New
   * connections get the new certificate; open ones end only when their address is no longer let in.
   * @throws and changes nothing.
   */
  reload(settings: WorkerSettings): void {
    const { https, guard, upstreams, logLevel } = settings;
    const contexts = https === null ? undefined : contextsOf(https);
    const inForce = this.#createAccess(guard);
    for (const networks of Object.values(this.#networks)) networks.change(guard.access);
    this.#connections.change(connectionLimits(settings));
    this.#inForce.close();
    this.#inForce = inForce;
    inForce.start();
    this.#limits.change(guard.limits);
    if (contexts !== undefined) this.#listeners.secure?.renew?.(contexts);
    this.#rules.replace(upstreams);
    this.#log.level = logLevel;
    for (const listener of Object.values(this.#listeners)) listener.enforce();
  }

  snapshot(): Promise<MetricsSnapshot> {
    return this.#metrics.snapshot();
  }

  /** Takes no more connections, lets running answers end, and cuts what is left after the grace. */
  async drain(): Promise<void> {
    const listeners = Object.values(this.#listeners);
    const cut = setTimeout(() => {
      for (const listener of listeners) listener.destroy();
    }, DRAIN_GRACE);
    await Promise.all(listeners.map((listener) => listener.drain()));
    clearTimeout(cut);
    this.#inForce.close();
    for (const { agent } of this.#pushTargets.values()) agent.destroy();
    this.#cache.close();
    this.#audit?.flush();
    await this.#ownStore?.close();
  }
}

function connectionLimits({ guard: { limits }, workers }: WorkerSettings): ConnectionLimits {
  return { ...limits, connectionsPerAddress: shareOf(limits.connectionsPerAddress, workers) };
}

function pushTargets({ upstreams, sessionKey }: PushSettings): ReadonlyMap<string, PushTarget> {
  return new Map(
    upstreams.map(({ name, url: text, ca, authHosts }) => {
      const url = new URL(text);
      return [name, { name, url, sessionKey, ...pushDoor(url, ca, authHosts) }];
    }),
  );
}

/** @throws what OpenSSL says of a certificate or key. */
export function contextsOf({ further, ticketKeys, clients, ...settings }: TlsSettings): ServerContexts {
  return new ServerContexts(
    {
      ...settings,
      ticketKeys: Buffer.from(ticketKeys, 'base64'),
      // There are other ways to say who one is.
      ...(clients && { clients: { ...clients, required: false } }),
    },
    further,
  );
}

/** What a worker process of a cluster does from start to end. */
export function runWorkerProcess(): void {
  let worker: EdgeWorker | undefined;
  const early: KeeperEvent[] = [];
  serveKeeper<WorkerSettings>({
    start: async (settings, keeper) => {
      worker = new EdgeWorker(settings, keeper, `worker-${process.pid}`);
      for (const event of early) worker.on(event);
      await worker.listen();
    },
    event: (event) => {
      if (worker === undefined) early.push(event);
      else worker.on(event);
    },
    reload: async (settings) => worker?.reload(settings),
    snapshot: async () => (await worker?.snapshot()) ?? [],
    drain: async () => await worker?.drain(),
  });
}
