import type { SiteChannel } from '../site-channel.ts';
import type { RedisConnection } from './redis-connection.ts';
import type { RedisClient } from './redis-target.ts';

/** Redis's pub/sub, with a connection of its own for listening. Both are closed with the {@link RedisConnection}. */
export class RedisChannel implements SiteChannel {
  readonly #connection: RedisConnection;
  readonly #name: string;
  #subscriber: RedisClient | undefined;

  /** @param prefix in front of the channel's name, as of every key. */
  constructor(connection: RedisConnection, prefix: string) {
    this.#connection = connection;
    this.#name = `${prefix}site`;
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
      // A connection that breaks now comes back, and with it another 'ready'.
      subscriber.subscribe(this.#name).then(joined, () => undefined);
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
