import type { Server } from 'node:http';
import { hkdfSync, randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import type { Commanded } from './admin/commands.ts';
import type { ReloadControl, ReloadReport } from './admin/control-protocol.ts';
import { listenControl } from './admin/control-server.ts';
import { accessSettings } from './app-access.ts';
import { AdminListener, certificateViews, createOperators } from './app-admin.ts';
import { identityEvents } from './app-identity-events.ts';
import { openAudit } from './app-audit.ts';
import { AuditOutbox } from './audit/audit-outbox.ts';
import { loadCertificates } from './app-certificates.ts';
import { guardFiles } from './app-files.ts';
import { EdgeKeeper } from './app-keeper.ts';
import { Reloader } from './app-reload.ts';
import { DRAIN_GRACE, EdgeWorker, type WorkerSettings } from './app-worker.ts';
import { Supervisor } from './cluster/supervisor.ts';
import type { Config, ListenAddress } from './config/config.ts';
import { officialNamespaceOf } from './config/upstreams.ts';
import { systemClock } from './lib/clock.ts';
import { createLog, type Log } from './observe/log.ts';
import { exposition, type MetricsSnapshot } from './observe/metrics.ts';
import { deriveTokenKey } from './access/edge/token-key.ts';
import { startFailure } from './start-error.ts';
import { StoreLayout } from './store/layout.ts';
import { readSealingKey } from './store/sealing-key.ts';
import type { CertificateState } from './tls/describe-certificates.ts';
import { namedPair, type ServedCertificates } from './tls/serving/served-certificates.ts';

/** A running edge. */
export interface Edge {
  readonly listen: {
    readonly http?: ListenAddress;
    readonly https?: ListenAddress;
    readonly admin?: ListenAddress;
  };
  readonly certificates: CertificateState | undefined;
  /** Reads the configuration and the certificates again. @throws and changes nothing when they cannot be used. */
  reload(): Promise<ReloadReport>;
  /** Drains, then closes the store. */
  stop(): Promise<void>;
}

/** What there is so far of an edge that starts. */
interface Running {
  keeper?: EdgeKeeper;
  workforce?: Workforce;
  reloads?: ReloadControl;
  reloader?: Reloader;
}

/** The workers, wherever they run. */
interface Workforce {
  start(): Promise<{ http?: ListenAddress; https?: ListenAddress }>;
  /** Resolves when no worker serves by the old settings any more. */
  reload(settings: WorkerSettings): Promise<void>;
  collect(): Promise<MetricsSnapshot[]>;
  drain(): Promise<void>;
  readonly ready: number;
}

/**
 * Starts an edge: store, keeper, workers, admin. Upstreams are not asked: one that is down never prevents a start.
 * `reread` gives the configuration as its file and the command line have it by then.
 * @throws {StartError} and leaves nothing running.
 */
export async function startEdge(config: Config, reread: () => Config): Promise<Edge> {
  const log = createLog(config.log.level, 'keeper');
  const layout = new StoreLayout(config.storage.path);
  const undo: (() => Promise<unknown>)[] = [];
  try {
    guardFiles(config, log);
    const certificates = await step('tls', () => loadCertificates(config, systemClock, log));
    await step(`storage.path ${config.storage.path}`, () => layout.create());
    const running: Running = {};
    const edge = commanded(running);
    const control = await step(`storage.path ${config.storage.path}`, () =>
      listenControl(layout.controlSocket, {
        edge,
        acted: (action, reason, status) => running.keeper?.audit?.act(action, reason, { status }),
        failed: (err) => log.error({ err }, 'a control command failed'),
      }),
    );
    undo.push(() => closed(control));
    const keeper = await step(`storage.path ${config.storage.path}`, () =>
      EdgeKeeper.open(config, layout, log, () => running.workforce?.ready ?? 0),
    );
    running.keeper = keeper;
    const { metrics } = keeper;
    undo.push(() => keeper.stop());
    keeper.audit = await step(`audit.to ${config.audit.to}`, () => openAudit(config.audit, metrics, log));
    const pushes = await pushSettings(config);
    const { secret } = config.redis ?? {};
    const tokenKey = deriveTokenKey(secret ?? (await sealingKeyOf(config)));
    const kept = { pushes, tokenKey };
    const settings = workerSettings(config, kept, certificates?.served);
    const workers: Workforce =
      config.workers === 1
        ? new OwnWorker(keeper, settings)
        : new WorkerProcesses(keeper, settings, config.workers, log);
    running.workforce = workers;
    const admin = createAdmin(config, settings.https, { keeper, workers, edge, log, tokenKey });
    const adminAddress = await listenAdmin(admin, config.listen.admin);
    undo.push(async () => await admin?.close());
    undo.push(() => workers.drain());
    const listen = await step('listen', () => workers.start());
    const reloader = new Reloader({
      config,
      served: certificates?.served,
      reread,
      apply: async (next, served) => {
        const renewed = workerSettings(next, kept, served);
        await workers.reload(renewed);
        admin?.reload(next, renewed.https);
        keeper.reload(next);
      },
      metrics,
      log,
      clock: systemClock,
      tokenKey,
    });
    const reloads = reloadControl(reloader, keeper, log);
    running.reloads = reloads;
    running.reloader = reloader;
    undo.push(() => reloader.stop());
    reloader.start();
    keeper.settleIn().catch((err: unknown) => log.error({ err }, 'the index could not be read'));
    log.info(
      { listen, admin: adminAddress, workers: config.workers, storage: config.storage.path },
      'serving',
    );
    return {
      listen: { ...listen, ...(adminAddress && { admin: adminAddress }) },
      certificates: certificates?.state,
      reload: () => reloads.reload(),
      stop: () => inReverse(undo),
    };
  } catch (error) {
    await inReverse(undo);
    throw error;
  }
}

/** The same for the control socket and the admin listener. */
function commanded(running: Running): Commanded {
  const workers = (): number => running.workforce?.ready ?? 0;
  return {
    inventory: () => running.keeper?.inventory,
    warming: () => running.keeper?.warming,
    reloads: () => running.reloads,
    view: {
      health: () => ({
        // At the start all workers have to serve; later one is enough while another is replaced.
        ready: running.reloads !== undefined && workers() > 0,
        workers: workers(),
        upstreams: running.keeper?.upstreams ?? [],
      }),
      certificates: () => certificateViews(running.reloader?.served),
    },
  };
}

interface AdminSurroundings {
  readonly keeper: EdgeKeeper;
  readonly workers: Workforce;
  readonly edge: Commanded;
  readonly log: Log;
  readonly tokenKey: Uint8Array;
}

function createAdmin(
  config: Config,
  tls: WorkerSettings['https'],
  { keeper, workers, edge, log, tokenKey }: AdminSurroundings,
): AdminListener | undefined {
  const { admin } = config.listen;
  if (admin === null) return undefined;
  const outbox = new AuditOutbox(systemClock, (entries) => keeper.audit?.add(entries));
  const events = identityEvents(keeper.metrics.registry, log);
  return new AdminListener(admin, config, tls, {
    ready: () => edge.view.health().ready,
    exposition: async () => await exposition([await keeper.metrics.snapshot(), ...(await workers.collect())]),
    edge,
    clock: systemClock,
    operatorsOf: (now) => createOperators(now, { clock: systemClock, tokenKey, events }),
    acted: (action, reason, facts) => keeper.audit?.act(action, reason, facts),
    accept: {
      registry: keeper.metrics.registry,
      log,
      turnedAway: (client) => outbox.turnedAway(client),
    },
    failed: (err) => log.error({ err }, 'an admin request failed'),
  });
}

function reloadControl(reloader: Reloader, keeper: EdgeKeeper, log: Log): ReloadControl {
  return {
    reload: async () => {
      // First, so that a configuration that is refused does not keep a log from being rotated.
      await keeper.audit
        ?.reopen()
        .catch((err: unknown) => log.error({ err }, 'the audit log was not reopened'));
      return await reloader.reload();
    },
    reloadCertificates: () => reloader.reloadCertificates(),
  };
}

/** `workers: 1`: the worker in the keeper's own process, asking it by plain calls. */
class OwnWorker implements Workforce {
  readonly #worker: EdgeWorker;
  #ready = 0;

  constructor(keeper: EdgeKeeper, settings: WorkerSettings) {
    // As Node does by default: here requests are answered, and those make more garbage than a keeper alone (main.ts).
    setFlagsFromString('--semi-space-growth-factor=2');
    const session = keeper.core.connect((event) => this.#worker.on(event));
    this.#worker = new EdgeWorker(settings, session, 'worker', keeper.localMetadata);
  }

  get ready(): number {
    return this.#ready;
  }

  async start(): ReturnType<Workforce['start']> {
    const addresses = await this.#worker.listen();
    this.#ready = 1;
    return addresses;
  }

  async reload(settings: WorkerSettings): Promise<void> {
    this.#worker.reload(settings);
  }

  async collect(): Promise<MetricsSnapshot[]> {
    return [await this.#worker.snapshot()];
  }

  async drain(): Promise<void> {
    this.#ready = 0;
    await this.#worker.drain();
  }
}

/** `workers: N`: processes of their own. */
class WorkerProcesses implements Workforce {
  readonly #supervisor: Supervisor<WorkerSettings>;
  readonly #settings: WorkerSettings;
  #draining = false;

  constructor(keeper: EdgeKeeper, settings: WorkerSettings, count: number, log: Log) {
    this.#settings = settings;
    this.#supervisor = new Supervisor({
      core: keeper.core,
      clock: systemClock,
      count,
      settings,
      events: {
        workerStarted: (pid) => log.info({ pid }, 'worker serves'),
        workerDied: (pid, how) => {
          keeper.metrics.workerRestarts.inc();
          log.error({ pid, how }, 'worker died; it is replaced');
        },
      },
    });
  }

  get ready(): number {
    return this.#draining ? 0 : this.#supervisor.ready;
  }

  async start(): ReturnType<Workforce['start']> {
    await this.#supervisor.start();
    const { http, https } = this.#settings;
    return { ...(http && { http }), ...(https && { https: { host: https.host, port: https.port } }) };
  }

  reload(settings: WorkerSettings): Promise<void> {
    return this.#supervisor.reload(settings);
  }

  collect(): Promise<MetricsSnapshot[]> {
    return this.#supervisor.collect();
  }

  async drain(): Promise<void> {
    this.#draining = true;
    await this.#supervisor.drain(DRAIN_GRACE);
  }
}

/** New ticket keys with each call: what was sealed under the old ones is not taken any more. */
function workerSettings(
  config: Config,
  { pushes, tokenKey }: { readonly pushes: WorkerSettings['pushes']; readonly tokenKey: Uint8Array },
  served: ServedCertificates | undefined,
): WorkerSettings {
  const { listen, tls, auth } = config;
  const clients = auth.mode === 'edge' ? auth.edge.clientCertificate : undefined;
  return {
    http: listen.http,
    https:
      listen.https === null || served === undefined
        ? null
        : {
            ...listen.https,
            ...namedPair(served.main),
            further: served.further.map(namedPair),
            minVersion: tls.minVersion,
            ticketKeys: randomBytes(48).toString('base64'),
            ...(clients && { clients }),
          },
    storagePath: config.storage.path,
    upstreams: config.upstreams.map(({ name, hosts, default: isDefault, urls, freshness, catalog }) => ({
      name,
      hosts,
      freshness,
      default: isDefault,
      officialNamespace: officialNamespaceOf(urls),
      catalog: catalog === true,
    })),
    pushes,
    guard: accessSettings(config, tokenKey),
    logLevel: config.log.level,
    workers: config.workers,
    audit: config.audit.to !== null,
  };
}

/** The key is derived, so that it is the same after a restart: an upload may outlast one. */
async function pushSettings(config: Config): Promise<WorkerSettings['pushes']> {
  const key = await sealingKeyOf(config);
  return {
    // The first URL alone: an upload lives on one host, and half of it is of no use on another.
    upstreams: config.upstreams.flatMap(({ name, push, urls: [url], ca, authHosts }) =>
      push && url !== undefined ? [{ name, url, ca, authHosts }] : [],
    ),
    sessionKey: new Uint8Array(hkdfSync('sha256', key, '', 'upload locations', 32)),
  };
}

function sealingKeyOf({ storage }: Config): Promise<Uint8Array> {
  const { sealingKey } = new StoreLayout(storage.path);
  return step(`storage.path ${storage.path}`, () => readSealingKey(sealingKey));
}

async function listenAdmin(
  admin: AdminListener | undefined,
  address: ListenAddress | null,
): Promise<ListenAddress | undefined> {
  if (admin === undefined || address === null) return undefined;
  return await step(`listen.admin ${address.host}:${address.port}`, () => admin.listen());
}

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw startFailure(what, error);
  }
}

async function inReverse(undo: (() => Promise<unknown>)[]): Promise<void> {
  for (let last = undo.pop(); last !== undefined; last = undo.pop()) await last();
}

async function closed(server: Server): Promise<void> {
  if (!server.listening) return;
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
