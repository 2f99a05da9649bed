import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { createAccess, type AccessSettings } from './app-access.ts';
import { AuditOutbox } from './audit/audit-outbox.ts';
import { canonicalAddress, IpRules } from './access/ip-rules.ts';
import { EdgeCache } from './cache/edge-cache.ts';
import type { Keeper, KeeperEvent } from './cache/keeper.ts';
import { LocalCache } from './cache/local-cache.ts';
import { UpstreamRules } from './cache/manifests/freshness.ts';
import { serveKeeper } from './cluster/worker-channel.ts';
import type { FreshnessConfig, ListenAddress, LogLevel } from './config/config.ts';
import { MiB, seconds, type Milliseconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import { createLog, type Log } from './observe/log.ts';
import { WorkerMetrics, type MetricsSnapshot } from './observe/metrics.ts';
import { Seldom } from './observe/seldom.ts';
import type { UpstreamNames } from './registry/select-upstream.ts';
import { listenPlain, listenSecure, type Listener, type ListenerParts } from './server/listeners.ts';
import { Hits } from './server/hit-lane/hits.ts';
import { RequestRecords } from './server/request-records.ts';
import { Pipeline, type InForce } from './server/pipeline.ts';
import type { PushTarget } from './server/push-proxy.ts';
import { Pushes } from './server/pushes.ts';
import { ReadBudget } from './lib/read-budget.ts';
import { BlobFiles } from './store/blob-files.ts';
import { EmbeddedStore } from './store/embedded-store.ts';
import { StoreLayout } from './store/layout.ts';
import type { LocalMetadata } from './store/metadata-store.ts';
import { pushAgent } from './upstream/push-agent.ts';
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
  /** Whether accesses go on record. */
  readonly audit: boolean;
}

/** Where pushes go: none of the edge's credentials, since clients push with their own. */
export interface PushSettings {
  readonly upstreams: readonly {
    readonly name: string;
    readonly url: string;
    readonly ca: string | undefined;
  }[];
  readonly sessionKey: Uint8Array;
}

export interface TlsSettings extends NamedPair {
  readonly further: readonly NamedPair[];
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
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
  readonly #listenerParts: ListenerParts;
  readonly #settings: WorkerSettings;
  readonly #audit: AuditOutbox | undefined;
  readonly #log: Log;
  /** In force now: {@link reload} replaces them. */
  readonly #rules: UpstreamRules;
  #inForce: InForce;
  readonly #ownStore: EmbeddedStore | undefined;
  readonly #pushTargets: ReadonlyMap<string, PushTarget>;
  #listeners: { plain?: Listener; secure?: Listener } = {};

  /** `store` is shared when the keeper is in this process; otherwise the worker opens its own view of it. */
  constructor(settings: WorkerSettings, keeper: Keeper, name: string, store?: LocalMetadata) {
    const layout = new StoreLayout(settings.storagePath);
    const log = createLog(settings.logLevel, name);
    this.#log = log;
    this.#rules = new UpstreamRules(settings.upstreams);
    this.#inForce = createAccess(settings.guard);
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
    this.#metrics = new WorkerMetrics(name);
    this.#audit = settings.audit
      ? new AuditOutbox(systemClock, (entries) => keeper.audit(entries))
      : undefined;
    this.#pushTargets = pushTargets(settings.pushes);
    const pipelineParts = {
      inForce: () => this.#inForce,
      addressOf: (request: IncomingMessage) => canonicalAddress(request.socket.remoteAddress ?? ''),
      addressOfPeer: (socket: Socket) => canonicalAddress(socket.remoteAddress ?? ''),
      cache: this.#cache,
      upstreams: settings.upstreams,
      pushes: new Pushes({
        targets: this.#pushTargets,
        upstreams: settings.upstreams,
        cache: this.#cache,
        clock: systemClock,
        log,
        metrics: this.#metrics,
      }),
      clock: systemClock,
      log,
      records: new RequestRecords({ log, metrics: this.#metrics, audit: this.#audit }),
    };
    this.#listenerParts = {
      pipeline: new Pipeline(pipelineParts),
      hits: new Hits(pipelineParts),
      rules: new IpRules(settings.guard.access),
      refused: (peer) => {
        this.#metrics.refusedConnections.inc();
        this.#audit?.turnedAway(peer);
      },
      pushes: this.#pushTargets.size > 0,
    };
  }

  /** Resolves when every listener accepts. @throws the socket's error. */
  async listen(): Promise<{ http?: ListenAddress; https?: ListenAddress }> {
    const { http, https } = this.#settings;
    if (http !== null) this.#listeners.plain = await listenPlain(http, this.#listenerParts);
    if (https !== null) {
      this.#listeners.secure = await listenSecure(https, contextsOf(https), this.#listenerParts);
    }
    const { plain, secure } = this.#listeners;
    return { ...(plain && { http: plain.address }), ...(secure && { https: secure.address }) };
  }

  on(event: KeeperEvent): void {
    this.#cache.on(event);
  }

  /**
   * All that can change while connections are open; addresses, storage and upstreams stay as they were at the start. New
   * connections get the new certificate; open ones end only when their address is no longer let in.
   * @throws and changes nothing.
   */
  reload({ https, guard, upstreams, logLevel }: WorkerSettings): void {
    const contexts = https === null ? undefined : contextsOf(https);
    const inForce = createAccess(guard);
    this.#listenerParts.rules.change(guard.access);
    this.#inForce = inForce;
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
    for (const { agent } of this.#pushTargets.values()) agent.destroy();
    this.#cache.close();
    this.#audit?.flush();
    await this.#ownStore?.close();
  }
}

function pushTargets({ upstreams, sessionKey }: PushSettings): ReadonlyMap<string, PushTarget> {
  return new Map(
    upstreams.map(({ name, url: text, ca }) => {
      const url = new URL(text);
      return [name, { name, url, sessionKey, agent: pushAgent(url, ca) }];
    }),
  );
}

/** @throws what OpenSSL says of a certificate or key. */
export function contextsOf({ further, ticketKeys, ...settings }: TlsSettings): ServerContexts {
  return new ServerContexts({ ...settings, ticketKeys: Buffer.from(ticketKeys, 'base64') }, further);
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
