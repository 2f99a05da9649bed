import { ListenerNetworks } from './access/listener-networks.ts';
import { accessSettings, createAccess } from './app-access.ts';
import type { ReloadReport } from './admin/control-protocol.ts';
import { expiriesText, loadCertificates } from './app-certificates.ts';
import { guardFiles } from './app-files.ts';
import type { Config } from './config/config.ts';
import { adminProblems } from './config/access/admin-access.ts';
import { plainProblems } from './config/access/auth.ts';
import { GUARDED_LISTENERS } from './config/access/access-config.ts';
import { changedKeys, inFlight } from './config/in-flight.ts';
import { ConfigError } from './config/problem.ts';
import { seconds, type Milliseconds } from './lib/brand.ts';
import type { Clock } from './lib/clock.ts';
import type { Log } from './observe/log.ts';
import type { KeeperMetrics } from './observe/metrics.ts';
import { CertificateError } from './tls/certificate-error.ts';
import {
  expiriesOf,
  isSame,
  readServedCertificates,
  type ServedCertificates,
} from './tls/serving/served-certificates.ts';

/** How soon certificates that others have put on disk (certbot, Kubernetes) are served without a word from them. */
const LOOK_INTERVAL = seconds(60);
const DAY = seconds(24 * 60 * 60);

export interface ReloaderParts {
  /** What the edge was started with. */
  readonly config: Config;
  readonly served: ServedCertificates | undefined;
  /** The configuration as it stands in its file now. @throws {ConfigError} */
  readonly reread: () => Config;
  /** Puts into force what is known to be good. Resolves when nobody serves by the old settings any more. */
  readonly apply: (config: Config, served: ServedCertificates | undefined) => Promise<void>;
  readonly metrics: Pick<KeeperMetrics, 'reloads' | 'configReloaded' | 'certificateExpiry'>;
  readonly log: Log;
  readonly clock: Clock;
  /** Of the edge's own tokens. */
  readonly tokenKey: Uint8Array;
}

/**
 * Changes the configuration and the certificates of an edge while it serves. All of it is read and tried before any of
 * it is in force: what cannot be used leaves everything as it was. One reload at a time.
 */
export class Reloader {
  readonly #parts: ReloaderParts;
  readonly #stopping = new AbortController();
  #config: Config;
  #served: ServedCertificates | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  /** A reload that has not begun: whoever asks meanwhile means the same one. */
  #next: Promise<ReloadReport> | undefined;
  /** Wall clock. */
  #renewedAt: Milliseconds;
  /** Why the files on disk could not be taken over, told once. */
  #unusable: string | undefined;

  constructor(parts: ReloaderParts) {
    this.#parts = parts;
    this.#config = parts.config;
    this.#served = parts.served;
    this.#renewedAt = parts.clock.now();
    parts.metrics.configReloaded.set(1);
    for (const outcome of ['ok', 'failed']) parts.metrics.reloads.inc({ outcome }, 0);
    this.#showExpiries();
  }

  /** Looks after the certificates from here on, until {@link stop}. */
  start(): void {
    void this.#lookAfter();
  }

  /** Resolves when no reload runs; those to come are refused. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the edge is stopping'));
    await this.#turn;
  }

  /** What is in force. */
  get served(): ServedCertificates | undefined {
    return this.#served;
  }

  /** The configuration and the certificates. @throws {ConfigError | CertificateError} and changes nothing. */
  reload(): Promise<ReloadReport> {
    this.#next ??= this.#inTurn(async () => {
      this.#next = undefined;
      try {
        const report = await this.#reload();
        this.#parts.metrics.configReloaded.set(1);
        return report;
      } catch (error) {
        this.#parts.metrics.configReloaded.set(0);
        throw this.#failed(error);
      }
    });
    return this.#next;
  }

  /** The certificates alone: a configuration that is being written is left alone. @throws {CertificateError} */
  reloadCertificates(): Promise<ReloadReport> {
    return this.#inTurn(async () => {
      try {
        return await this.#bringIn(this.#config, this.#config);
      } catch (error) {
        throw this.#failed(error);
      }
    });
  }

  /**
   * Takes over certificates that have changed on disk, and once a day renews our own and tells of those that end soon.
   * While what is on disk cannot be used, such as half of a pair, the old ones are served.
   */
  look(): Promise<void> {
    return this.#inTurn(async () => {
      const { clock, log } = this.#parts;
      if (this.#config.listen.https === null) return;
      const since = clock.now() - this.#renewedAt;
      try {
        // Also when the wall clock was set back.
        if (since >= DAY || since < 0) {
          this.#renewedAt = clock.now();
          await loadCertificates(this.#config, clock, log);
        }
        const served = await readServedCertificates(this.#config.tls, clock);
        this.#unusable = undefined;
        if (this.#served !== undefined && isSame(this.#served, served)) return;
        await this.#apply(this.#config, served);
        log.info({ certificates: expiriesText(served) }, 'certificates changed on disk: reloaded');
      } catch (error) {
        const reason = messageOf(error);
        if (reason === this.#unusable) return;
        this.#unusable = reason;
        this.#parts.metrics.reloads.inc({ outcome: 'failed' });
        log.warn({ reason }, 'certificates on disk cannot be used: the old ones are served');
      }
    });
  }

  async #reload(): Promise<ReloadReport> {
    const read = this.#parts.reread();
    const next = inFlight(this.#config, read);
    // The listeners stay where they are until a restart, whatever the file says by now.
    const problems = [...plainProblems(next), ...adminProblems(next)];
    if (problems.length > 0) throw new ConfigError(problems);
    guardFiles(next, this.#parts.log);
    // Tried here, so that no worker fails by it.
    for (const listener of GUARDED_LISTENERS) void new ListenerNetworks(listener, next.access);
    void createAccess(accessSettings(next, this.#parts.tokenKey));
    return await this.#bringIn(next, read);
  }

  async #bringIn(next: Config, read: Config): Promise<ReloadReport> {
    const { clock, log } = this.#parts;
    const served = (await loadCertificates(next, clock, log))?.served;
    const before = this.#served;
    const report = {
      changed: changedKeys(this.#config, next),
      needRestart: changedKeys(next, read),
      newCertificates: served !== undefined && (before === undefined || !isSame(before, served)),
    };
    await this.#apply(next, served);
    this.#unusable = undefined;
    log.info({ ...report, ...(served && { certificates: expiriesText(served) }) }, 'reloaded');
    if (report.needRestart.length > 0)
      log.warn(
        { keys: report.needRestart },
        'changed keys that need a restart: their old values stay in force',
      );
    return report;
  }

  async #apply(config: Config, served: ServedCertificates | undefined): Promise<void> {
    await this.#parts.apply(config, served);
    this.#config = config;
    this.#served = served;
    this.#parts.metrics.reloads.inc({ outcome: 'ok' });
    this.#showExpiries();
  }

  #showExpiries(): void {
    const { certificateExpiry } = this.#parts.metrics;
    certificateExpiry.reset();
    if (this.#served === undefined) return;
    for (const { name, at } of expiriesOf(this.#served)) certificateExpiry.set({ name }, at / 1000);
  }

  #failed(error: unknown): unknown {
    this.#parts.metrics.reloads.inc({ outcome: 'failed' });
    const facts =
      error instanceof ConfigError
        ? { problems: error.problems }
        : error instanceof CertificateError
          ? { reason: error.message }
          : { err: error };
    this.#parts.log.error(facts, 'not reloaded: the old configuration and certificates stay in force');
    return error;
  }

  async #lookAfter(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#parts.clock.sleep(LOOK_INTERVAL, signal).catch(() => undefined);
      // Refused when the edge is stopping; nothing else rejects it.
      await this.look().catch(() => undefined);
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(async () => {
      this.#stopping.signal.throwIfAborted();
      return await work();
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
