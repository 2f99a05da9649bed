import { createHmac, randomUUID } from 'node:crypto';
import { LEASE_LIFE, type Lease, type Leases } from '../../lib/leases.ts';
import type { Clock } from '../../lib/clock.ts';
import type { RedisConnection } from './redis-connection.ts';

export interface RedisLeasesOptions {
  readonly clock: Clock;
  /** In front of every key. */
  readonly prefix: string;
  /** For the names of leases alone: Redis is not to learn who asks for what. */
  readonly key: Uint8Array;
}

/**
 * Leases that Redis lends: one key each, which ends by itself (PX) when its holder does not come back. Without Redis
 * everybody has every lease. A lease says who asks and nothing else: one that is lost, or lent twice, costs a question.
 */
export class RedisLeases implements Leases {
  readonly #connection: RedisConnection;
  readonly #options: RedisLeasesOptions;
  readonly #holder = randomUUID();

  constructor(connection: RedisConnection, options: RedisLeasesOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  async take(question: string): Promise<Lease | undefined> {
    const { clock } = this.#options;
    const name = this.#nameOf(question);
    const until = clock.monotonic() + LEASE_LIFE;
    try {
      const answer = await this.#connection.run('lease', (client) =>
        client.set(name, this.#holder, 'PX', LEASE_LIFE, 'NX'),
      );
      if (answer === null) return undefined;
    } catch {
      // The connection has told of it; whoever cannot ask the others asks the upstream.
      return { release: () => undefined };
    }
    return { release: () => this.#release(name, until) };
  }

  /** After its life it may be another's by now: it is let be, without a script that compares. */
  #release(name: string, until: number): void {
    if (this.#options.clock.monotonic() >= until) return;
    // What fails has been told by the connection, and the lease ends by itself.
    this.#connection.run('release', (client) => client.del(name)).catch(() => undefined);
  }

  #nameOf(question: string): string {
    return `${this.#options.prefix}lease:${createHmac('sha256', this.#options.key).update(question).digest('base64url')}`;
  }
}
