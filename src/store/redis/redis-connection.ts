import { setImmediate as turn } from 'node:timers/promises';
import { Cluster, type Redis } from 'ioredis';
import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { redisError, RedisError } from './redis-failure.ts';
import { createClient, handleRejections, type RedisClient, type RedisTarget } from './redis-target.ts';

export interface RedisEvents {
  /** An operation got its answer. */
  answered(operation: string, took: Milliseconds): void;
  failed(operation: string, error: RedisError): void;
  /** Calls are worth trying, or are not; told on each change. */
  available(available: boolean, reason: string | undefined): void;
}

export interface RedisConnectionOptions {
  readonly clock: Clock;
  /** The longest that a call may take, whatever the state of the connection. */
  readonly timeout: Milliseconds;
  readonly events: RedisEvents;
}

/** After a call without an answer nobody asks for so long, and longer each time that it still stands still. */
const FIRST_PAUSE = seconds(1);
const LONGEST_PAUSE = seconds(5);
/** What ended without our doing is opened again after this. */
const REOPEN_PAUSE = seconds(1);
/** What is to be subscribed to may wait for the connection. */
const SUBSCRIBER = { enableOfflineQueue: true, maxRetriesPerRequest: null };
const LATE: unique symbol = Symbol('late');

/**
 * The one connection of this edge to the site's Redis. Every call goes through {@link run}, which bounds it. A Redis
 * that stands still costs the calls that are under way `timeout`; after that nobody asks until a probe in the
 * background had its answer. Lifetime: opened by the keeper at its start, without waiting; closed at its end, with the
 * subscribers that it gave out.
 */
export class RedisConnection {
  readonly #client: RedisClient;
  readonly #options: RedisConnectionOptions;
  readonly #subscribers = new Set<RedisClient>();
  readonly #closing = new AbortController();
  #standsStill = false;
  #told: boolean | undefined;
  #lastError: RedisError | undefined;

  constructor(target: RedisTarget, options: RedisConnectionOptions) {
    this.#options = options;
    this.#client = createClient(target);
    this.#client.on('ready', () => {
      this.#lastError = undefined;
      this.#tell();
    });
    this.#client.on('close', () => this.#tell());
    this.#watch(this.#client);
  }

  /** Connected, and not standing still as far as is known. */
  get available(): boolean {
    return this.#client.status === 'ready' && !this.#standsStill;
  }

  /** Why there is no connection now. */
  get lastError(): RedisError | undefined {
    return this.#lastError;
  }

  /**
   * Sends a command: `run('get', (client) => client.get(key))`. Commands go out in the order of the calls.
   * @throws {RedisError} within `timeout`, at once when there is no connection or none is worth trying.
   */
  async run<T>(operation: string, command: (client: RedisClient) => Promise<T>): Promise<T> {
    const { clock, events } = this.#options;
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      events.failed(operation, refusal);
      throw refusal;
    }
    const startedAt = clock.monotonic();
    try {
      const result = await this.#inTime(command(this.#client));
      events.answered(operation, ms(clock.monotonic() - startedAt));
      this.#tell();
      return result;
    } catch (error) {
      throw this.#failed(operation, redisError(error));
    }
  }

  /**
   * A connection for SUBSCRIBE, which comes back by itself and subscribes again to what it was subscribed to. What was
   * published in between is lost: its `ready` event says when. Closed with this connection.
   */
  subscriber(): RedisClient {
    const subscriber = this.#duplicate();
    this.#subscribers.add(subscriber);
    this.#watch(subscriber);
    return subscriber;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const client of [this.#client, ...this.#subscribers]) client.disconnect();
  }

  #duplicate(): RedisClient {
    if (this.#client instanceof Cluster) {
      const cluster = this.#client.duplicate([], { enableOfflineQueue: true });
      cluster.on('+node', handleRejections);
      return cluster;
    }
    const redis: Redis = this.#client.duplicate(SUBSCRIBER);
    handleRejections(redis);
    return redis;
  }

  async #inTime<T>(answer: Promise<T>): Promise<T> {
    const { clock, timeout } = this.#options;
    const done = new AbortController();
    const late = clock.sleep(timeout, done.signal).then(
      // When this process was busy, the answer may be here and not yet read: timers may come before sockets.
      async (): Promise<typeof LATE> => await turn(undefined).then(() => LATE),
      (): typeof LATE => LATE,
    );
    try {
      const first = await Promise.race([answer, late]);
      if (first === LATE) throw new RedisError('timeout', `Redis did not answer in ${timeout} ms`);
      return first;
    } finally {
      done.abort();
      answer.catch(() => undefined);
    }
  }

  /** Why a call is not even sent. */
  #refusal(): RedisError | undefined {
    if (this.#client.status !== 'ready')
      return this.#lastError ?? new RedisError('connection', 'there is no connection to Redis');
    return this.#standsStill ? new RedisError('paused', 'Redis stood still a moment ago') : undefined;
  }

  #failed(operation: string, error: RedisError): RedisError {
    // Without a connection nothing is sent anyway, until there is one.
    if (error.silent && this.#client.status === 'ready' && !this.#standsStill) void this.#untilItAnswers();
    if (error.failure === 'timeout') this.#drop();
    this.#options.events.failed(operation, error);
    this.#tell(error.message);
    return error;
  }

  async #untilItAnswers(): Promise<void> {
    const { clock } = this.#options;
    this.#standsStill = true;
    try {
      for (let pause = FIRST_PAUSE; this.#standsStill; pause = ms(Math.min(2 * pause, LONGEST_PAUSE))) {
        await clock.sleep(pause, this.#closing.signal);
        if (this.#client.status === 'ready') this.#standsStill = !(await this.#answers());
      }
      this.#tell();
    } catch (error) {
      if (!this.#closing.signal.aborted) throw error;
    }
  }

  async #answers(): Promise<boolean> {
    try {
      await this.#inTime(this.#client.ping());
      return true;
    } catch (error) {
      const { silent, failure } = redisError(error);
      if (failure === 'timeout') this.#drop();
      return !silent;
    }
  }

  /** Answers that come after all, and a bulk without end, are not waited for and not kept. */
  #drop(): void {
    if (this.#client.status === 'ready') this.#client.disconnect(true);
  }

  #tell(reason?: string): void {
    const { available } = this;
    if (this.#told === available || this.#closing.signal.aborted) return;
    // Still connecting for the first time: neither.
    if (this.#told === undefined && !available && this.#lastError === undefined) return;
    this.#told = available;
    this.#options.events.available(available, reason ?? this.#lastError?.message);
  }

  /** Errors of the connection itself: without a listener they would end the process. */
  #watch(client: RedisClient): void {
    client.on('error', (error: unknown) => {
      this.#lastError = redisError(error);
      this.#tell();
    });
    client.on('end', () => void this.#reopen(client));
  }

  async #reopen(client: RedisClient): Promise<void> {
    try {
      await this.#options.clock.sleep(REOPEN_PAUSE, this.#closing.signal);
      if (client.status === 'end') await client.connect();
    } catch (error) {
      // Closed by us; or not reached again, which ends in the next 'end'.
      if (!this.#closing.signal.aborted) this.#lastError = redisError(error);
    }
  }
}
