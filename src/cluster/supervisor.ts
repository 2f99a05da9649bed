import cluster, { type Worker } from 'node:cluster';
import { ms, seconds, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import type { KeeperCore } from '../cache/keeper-core.ts';
import { countersOf, merged, type MetricsSnapshot } from '../observe/metrics.ts';
import { KeeperHost } from './keeper-host.ts';
import type { KeeperMessage, WorkerMessage } from './messages.ts';

/** A worker that lived shorter than this is replaced with a growing pause, so that a crash loop stays bounded. */
const STABLE_AFTER = seconds(10);
const FIRST_PAUSE = ms(100);
const LONGEST_PAUSE = seconds(30);
/** A worker that does not answer a scrape in this time is left out of it. */
const COLLECT_TIMEOUT = seconds(2);
/** A worker that has not taken new settings by then is replaced: it would go on with rules that are revoked. */
const RELOAD_TIMEOUT = seconds(15);

export interface SupervisorEvents {
  workerStarted(pid: number | undefined): void;
  workerDied(pid: number | undefined, how: string): void;
}

export interface SupervisorParts<Settings> {
  readonly core: KeeperCore;
  readonly clock: Clock;
  readonly count: number;
  readonly settings: Settings;
  readonly events: SupervisorEvents;
}

interface Member<Settings> {
  readonly worker: Worker;
  readonly host: KeeperHost<Settings>;
  readonly startedAt: Milliseconds;
  readonly collecting: Map<number, (snapshot: MetricsSnapshot | undefined) => void>;
  /** Reloads that it has not answered yet, by their number. */
  readonly reloading: Map<number, () => void>;
  snapshot: MetricsSnapshot | undefined;
  ready: boolean;
}

/*
 * V8 lets the young generation grow to 128 MB on a large machine, and what it holds there are mostly read buffers that
 * nobody wants any more. Bounded, a worker with a hundred readers stays under 200 MB; wrk sees no difference.
 */
const WORKER_YOUNG_SPACE = '--max-semi-space-size=8';

/** A worker said that it cannot serve, such as for a port in use. */
export class WorkerFailed extends Error {
  override readonly name = 'WorkerFailed';
  readonly code: string | undefined;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.code = code;
  }
}

/** Starts the workers, replaces those that die, and speaks for all of them. */
export class Supervisor<Settings> {
  readonly #parts: SupervisorParts<Settings>;
  readonly #members = new Map<number, Member<Settings>>();
  /** Counters of workers that are gone. */
  #retired: MetricsSnapshot = [];
  readonly #stopping = new AbortController();
  #settings: Settings;
  #pause: Milliseconds = FIRST_PAUSE;
  #nextCollection = 1;
  #nextReload = 1;

  constructor(parts: SupervisorParts<Settings>) {
    this.#parts = parts;
    this.#settings = parts.settings;
    // Each worker accepts for itself: a replaced one drops nothing from the shared queue.
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({ serialization: 'advanced', execArgv: [...process.execArgv, WORKER_YOUNG_SPACE] });
  }

  get ready(): number {
    return [...this.#members.values()].filter((member) => member.ready).length;
  }

  /** Resolves when every worker serves. @throws {WorkerFailed} when one cannot. */
  async start(): Promise<void> {
    await Promise.all(Array.from({ length: this.#parts.count }, () => this.#startWorker()));
  }

  /** Resolves when no worker serves by other settings than these; those to come have them from the start. */
  async reload(settings: Settings): Promise<void> {
    this.#settings = settings;
    await Promise.all([...this.#members.values()].map((member) => this.#reloadIn(member, settings)));
  }

  /** Everybody's counters, those of workers that are gone included. */
  async collect(): Promise<MetricsSnapshot[]> {
    await Promise.all([...this.#members.values()].map((member) => this.#collectFrom(member)));
    // Looked up again: a worker that ended meanwhile is among the retired, and must not count twice.
    const live = [...this.#members.values()].map(({ snapshot }) => snapshot);
    return [...live.filter((snapshot) => snapshot !== undefined), this.#retired];
  }

  /** Workers finish what they are at; resolves when all are gone. What is left after `grace` is ended. */
  async drain(grace: Milliseconds): Promise<void> {
    this.#stopping.abort();
    const gone = [...this.#members.values()].map(({ worker }) => {
      const exit = new Promise<void>((resolve) => {
        worker.once('exit', () => resolve());
      });
      send(worker, { type: 'drain' });
      return exit;
    });
    const cut = new AbortController();
    const late = this.#parts.clock.sleep(ms(grace + 2000), cut.signal).then(
      () => this.kill(),
      () => undefined,
    );
    await Promise.all(gone);
    cut.abort();
    await late;
  }

  kill(): void {
    for (const { worker } of this.#members.values()) worker.process.kill('SIGKILL');
  }

  #startWorker(): Promise<void> {
    const started = Promise.withResolvers<void>();
    const worker = cluster.fork();
    const { core, clock, events } = this.#parts;
    const session = core.connect((event) => send(worker, { type: 'event', event }));
    const member: Member<Settings> = {
      worker,
      host: new KeeperHost(session, (message) => send(worker, message)),
      startedAt: clock.monotonic(),
      collecting: new Map(),
      reloading: new Map(),
      snapshot: undefined,
      ready: false,
    };
    this.#members.set(worker.id, member);
    worker.on('message', (message: WorkerMessage) => {
      if (member.host.take(message)) return;
      if (message.type === 'metrics') member.collecting.get(message.id)?.(message.snapshot);
      if (message.type === 'reloaded') member.reloading.get(message.id)?.();
      if (message.type === 'failed') {
        started.reject(new WorkerFailed(message.message, message.code));
        // It serves nothing, so its place is free: for another try, unless this was the start.
        worker.process.kill('SIGKILL');
      }
      if (message.type !== 'ready') return;
      member.ready = true;
      events.workerStarted(worker.process.pid);
      started.resolve();
    });
    worker.on('exit', (code, signal) => {
      started.reject(new WorkerFailed(`a worker ended at its start (${signal ?? code})`, undefined));
      void this.#replace(member, signal ?? `exit code ${code}`);
    });
    worker.on('error', () => worker.process.kill('SIGKILL'));
    send(worker, { type: 'start', settings: this.#settings });
    return started.promise;
  }

  async #replace(member: Member<Settings>, how: string): Promise<void> {
    const { clock, events } = this.#parts;
    this.#members.delete(member.worker.id);
    member.host.close();
    // A scrape does not wait for one that is gone.
    for (const done of member.collecting.values()) done(undefined);
    for (const done of member.reloading.values()) done();
    if (member.snapshot !== undefined) this.#retire(member.snapshot);
    if (this.#stopping.signal.aborted) return;
    events.workerDied(member.worker.process.pid, how);
    const lived = clock.monotonic() - member.startedAt;
    this.#pause = lived > STABLE_AFTER ? FIRST_PAUSE : ms(Math.min(this.#pause * 2, LONGEST_PAUSE));
    try {
      if (lived <= STABLE_AFTER) await clock.sleep(this.#pause, this.#stopping.signal);
      await this.#startWorker();
    } catch {
      // Stopping; or the new one died as well, and its own exit brings us here again.
    }
  }

  #retire(snapshot: MetricsSnapshot): void {
    this.#retired = merged([this.#retired, countersOf(snapshot)]);
  }

  async #reloadIn(member: Member<Settings>, settings: Settings): Promise<void> {
    const id = this.#nextReload++;
    const { promise: done, resolve } = Promise.withResolvers<void>();
    member.reloading.set(id, resolve);
    const stop = new AbortController();
    const late = this.#parts.clock.sleep(RELOAD_TIMEOUT, stop.signal).then(
      () => member.worker.process.kill('SIGKILL'),
      () => undefined,
    );
    send(member.worker, { type: 'reload', id, settings });
    await done;
    stop.abort();
    await late;
    member.reloading.delete(id);
  }

  async #collectFrom(member: Member<Settings>): Promise<void> {
    const id = this.#nextCollection++;
    const answered = new Promise<MetricsSnapshot | undefined>((resolve) =>
      member.collecting.set(id, resolve),
    );
    const stop = new AbortController();
    const late = this.#parts.clock.sleep(COLLECT_TIMEOUT, stop.signal).then(
      () => undefined,
      () => undefined,
    );
    send(member.worker, { type: 'collect', id });
    const snapshot = await Promise.race([answered, late]);
    stop.abort();
    member.collecting.delete(id);
    if (snapshot !== undefined) member.snapshot = snapshot;
  }
}

/** A worker whose channel is closed is about to exit; its `exit` event tells the rest. */
function send<Settings>(worker: Worker, message: KeeperMessage<Settings>): void {
  if (worker.isConnected()) worker.send(message, () => undefined);
}
