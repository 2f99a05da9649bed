import type { Connection } from './connection.ts';

/** Connections that share a limit: those of one listener, or of one address. Each set is in the order in which they came into it. */
export class Crowd {
  /** Without a request under way, after at least one. */
  readonly #idle = new Set<Connection>();
  /** Before their first request: in the handshake, or in its headers. */
  readonly #new = new Set<Connection>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /**
   * Who loses least by being closed: who has been idle the longest; or else who has been without a first request the longest, since
   * whoever means to ask has asked by then. Undefined when all have a request under way.
   */
  get leastMissed(): Connection | undefined {
    const [idle] = this.#idle;
    if (idle !== undefined) return idle;
    const [unasked] = this.#new;
    return unasked;
  }

  join(connection: Connection): void {
    this.#size += 1;
    this.#new.add(connection);
  }

  /** A request has come, or an answer has ended. */
  moved(connection: Connection): void {
    this.#new.delete(connection);
    this.#idle.delete(connection);
    if (!connection.isBusy) this.#idle.add(connection);
  }

  leave(connection: Connection): void {
    this.#size -= 1;
    this.#new.delete(connection);
    this.#idle.delete(connection);
  }
}
