import type { Server } from 'node:http';
import { hostname } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { createAdminServer } from './admin/admin-listener.ts';
import { listenControl } from './admin/control-server.ts';
import { EdgeKeeper } from './app-keeper.ts';
import { DRAIN_GRACE, EdgeWorker, type WorkerSettings } from './app-worker.ts';
import { Supervisor } from './cluster/supervisor.ts';
import type { Config, ListenAddress } from './config/config.ts';
import { officialNamespaceOf } from './config/upstreams.ts';
import { systemClock } from './lib/clock.ts';
import { createLog, type Log } from './observe/log.ts';
import { exposition, type MetricsSnapshot } from './observe/metrics.ts';
import { startFailure } from './start-error.ts';
import { StoreLayout } from './store/layout.ts';
import { readPair } from './tls/certificate-files.ts';
import type { CertificateState } from './tls/describe-certificates.ts';
import { ensureCertificates } from './tls/ensure-certificates.ts';

/** A running edge. */
export interface Edge {
  readonly listen: {
    readonly http?: ListenAddress;
    readonly https?: ListenAddress;
    readonly admin?: ListenAddress;
  };
  readonly certificates: CertificateState | undefined;
  /** Reads the certificates again, for new connections. @throws and changes nothing when they cannot be used. */
  reload(): Promise<void>;
  /** Drains, then closes the store. */
  stop(): Promise<void>;
}

/** The workers, wherever they run. */
interface Workforce {
  start(): Promise<{ http?: ListenAddress; https?: ListenAddress }>;
  reload(settings: WorkerSettings): void;
  collect(): Promise<MetricsSnapshot[]>;
  drain(): Promise<void>;
  readonly ready: number;
}

/**
 * Starts an edge: store, keeper, workers, admin. Upstreams are not asked: one that is down never prevents a start.
 * @throws {StartError} and leaves nothing running.
 */
export async function startEdge(config: Config): Promise<Edge> {
  const log = createLog(config.log.level, 'keeper');
  const layout = new StoreLayout(config.storage.path);
  const undo: (() => Promise<unknown>)[] = [];
  try {
    const certificates = config.listen.https === null ? undefined : await certificatesFor(config, log);
    await step(`storage.path ${config.storage.path}`, () => layout.create());
    const running: { keeper?: EdgeKeeper; workforce?: Workforce; started?: boolean } = {};
    const control = await step(`storage.path ${config.storage.path}`, () =>
      listenControl(layout.controlSocket, {
        inventory: () => running.keeper?.inventory,
        warming: () => running.keeper?.warming,
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
    const settings = await workerSettings(config);
    const workers: Workforce =
      config.workers === 1
        ? new OwnWorker(keeper, settings)
        : new WorkerProcesses(keeper, settings, config.workers, log);
    running.workforce = workers;
    const admin = createAdminServer({
      // At the start all workers have to serve; later one is enough while another is replaced.
      ready: () => running.started === true && workers.ready > 0,
      exposition: async () => await exposition([await metrics.snapshot(), ...(await workers.collect())]),
      failed: (err) => log.error({ err }, 'an admin request failed'),
    });
    const adminAddress = await listenAdmin(admin, config.listen.admin);
    undo.push(() => closed(admin));
    undo.push(() => workers.drain());
    const listen = await step('listen', () => workers.start());
    running.started = true;
    keeper.settleIn().catch((err: unknown) => log.error({ err }, 'the index could not be read'));
    log.info(
      { listen, admin: adminAddress, workers: config.workers, storage: config.storage.path },
      'serving',
    );
    return {
      listen: { ...listen, ...(adminAddress && { admin: adminAddress }) },
      certificates,
      reload: async () => {
        if (config.listen.https !== null) await certificatesFor(config, log);
        workers.reload(await workerSettings(config));
        log.info('certificates reloaded');
      },
      stop: () => inReverse(undo),
    };
  } catch (error) {
    await inReverse(undo);
    throw error;
  }
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

  reload(settings: WorkerSettings): void {
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

  reload(settings: WorkerSettings): void {
    this.#supervisor.reload(settings);
  }

  collect(): Promise<MetricsSnapshot[]> {
    return this.#supervisor.collect();
  }

  async drain(): Promise<void> {
    this.#draining = true;
    await this.#supervisor.drain(DRAIN_GRACE);
  }
}

async function certificatesFor(config: Config, log: Log): Promise<CertificateState> {
  const { cert, key, names } = config.tls;
  const state = await step('tls', () =>
    ensureCertificates({ cert, key, names, hostname: hostname(), clock: systemClock }),
  );
  if (state.warning !== undefined) log.warn(state.warning);
  return state;
}

async function workerSettings(config: Config): Promise<WorkerSettings> {
  const { listen, tls } = config;
  const pair = listen.https === null ? undefined : await step('tls', () => readPair(tls));
  return {
    http: listen.http,
    https:
      listen.https === null || pair === undefined
        ? null
        : { ...listen.https, cert: pair.certPem, key: pair.keyPem, minVersion: tls.minVersion },
    storagePath: config.storage.path,
    upstreams: config.upstreams.map(({ name, hosts, default: isDefault, urls }) => ({
      name,
      hosts,
      default: isDefault,
      officialNamespace: officialNamespaceOf(urls),
    })),
    freshness: config.freshness,
    access: config.access,
    logLevel: config.log.level,
  };
}

async function listenAdmin(
  server: Server,
  address: ListenAddress | null,
): Promise<ListenAddress | undefined> {
  if (address === null) return undefined;
  return await step(`listen.admin ${address.host}:${address.port}`, async () => {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(address, resolve);
    });
    const bound = server.address();
    return typeof bound === 'object' && bound !== null ? { host: address.host, port: bound.port } : address;
  });
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
