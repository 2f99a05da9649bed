import type { SiteChannel } from '../site-channel.ts';
import type { RedisConnection } from './redis-connection.ts';
import { redisError, type RedisError } from './redis-failure.ts';
import type { RedisClient } from './redis-target.ts';

/** Redis's pub/sub, with a connection of its own for listening. Both are closed with the {@link RedisConnection}. */
export class RedisChannel implements SiteChannel {
  readonly #connection: RedisConnection;
  readonly #name: string;
  readonly #refused: (error: RedisError) => void;
  #subscriber: RedisClient | undefined;

  /**
   * @param prefix in front of the channel's name, as of every key.
   * @param refused listening is not possible, by what Redis says: its ACL may not allow it.
   */
  constructor(connection: RedisConnection, prefix: string, refused: (error: RedisError) => void) {
    this.#connection = connection;
    this.#name = `${prefix}site`;
    this.#refused = refused;
  }

  async publish(message: Uint8Array): Promise<void> {
    const bytes = Buffer.from(message);
    await this.#connection.run('publish', (client) => client.publish(this.#name, bytes));
  }

  listen(received: (message: Uint8Array) => void, joined: () => void): void {
    const subscriber = this.#connection.subscriber();
    this.#subscriber = subscriber;
    subscriber.on('messageBuffer', (_channel: Buffer, message: Buffer) => received(message));
    // Also after each reconnect: ioredis subscribes again by itself, but does not say when it has.
    const join = (): void => {
      subscriber.subscribe(this.#name).then(joined, (error: unknown) => {
        const failure = redisError(error);
        // A connection that breaks now comes back, and with it another 'ready'.
        if (!failure.silent) this.#refused(failure);
      });
    };
    subscriber.on('ready', join);
    if (subscriber.status === 'ready') join();
  }

  rejoin(): void {
    this.#subscriber?.disconnect(true);
  }

  async close(): Promise<void> {
    // Without a listener it hears nothing; the connection closes what it gave out.
    this.#subscriber?.removeAllListeners('messageBuffer');
    this.#subscriber?.removeAllListeners('ready');
  }
}
