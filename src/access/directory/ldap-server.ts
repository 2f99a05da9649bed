import type { Entry, SearchOptions } from 'ldapts';
import type { LdapConfig } from '../../config/access/access-config.ts';
import type { Clock } from '../../lib/clock.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import { Breaker } from './breaker.ts';
import { LdapConnection, LdapFailure } from './ldap-connection.ts';

/** Connections that wait for the next password. */
const MAX_SPARE = 4;

export interface LdapServerParts {
  readonly config: LdapConfig;
  readonly clock: Clock;
  /** Told once per change, the first word included. */
  readonly changed: (url: string, up: boolean, reason: string | undefined) => void;
}

/**
 * One server of the directory: one connection for searches, as the service account, and others on which passwords are tried, since
 * a bind makes a connection that user's.
 */
export class LdapServer {
  readonly url: string;
  readonly #parts: LdapServerParts;
  readonly #breaker: Breaker;
  readonly #opening = new SingleFlight<'service', LdapConnection>();
  #service: LdapConnection | undefined;
  readonly #spare: LdapConnection[] = [];
  #closed = false;

  constructor(url: string, parts: LdapServerParts) {
    this.url = url;
    this.#parts = parts;
    this.#breaker = new Breaker({
      clock: parts.clock,
      probe: () =>
        this.#probe()
          .catch(unlessAnswered)
          .finally(() => this.#leaveIfClosed()),
      changed: (up, reason) => parts.changed(url, up, reason),
    });
  }

  /** Whether it makes sense to ask it. */
  get up(): boolean {
    return this.#breaker.up;
  }

  /** As the service account. @throws {LdapFailure} */
  async search(base: string, options: SearchOptions): Promise<readonly Entry[]> {
    return await this.#counted(async () => {
      const connection = await this.#serviceConnection();
      return await connection.search(base, options);
    });
  }

  /** Whether that is the password. @throws {LdapFailure} */
  async bind(dn: string, password: string): Promise<boolean> {
    return await this.#counted(async () => {
      const connection = this.#takeSpare() ?? (await this.#open());
      try {
        return await connection.bind(dn, password);
      } finally {
        this.#putBack(connection);
      }
    });
  }

  /** Asks for the base of the users. @throws {LdapFailure} */
  async probe(): Promise<void> {
    await this.#counted(() => this.#probe());
  }

  /** What is being asked goes on to its end. */
  close(): void {
    this.#closed = true;
    this.#breaker.close();
    for (const connection of this.#spare.splice(0)) connection.close();
    this.#leaveIfClosed();
  }

  async #probe(): Promise<void> {
    const connection = await this.#serviceConnection();
    const [base] = await connection.search(this.#parts.config.userBase, {
      scope: 'base',
      attributes: ['1.1'],
    });
    if (base === undefined) throw new LdapFailure('refused', 'it has no entry auth.edge.ldap.userBase');
  }

  /** A connection that the server has closed while it was idle shows only when it is used: then another is tried, once. */
  async #counted<T>(work: () => Promise<T>): Promise<T> {
    try {
      const result = await work().catch((error: unknown) => {
        if (error instanceof LdapFailure && error.kind === 'lost') return work();
        throw error;
      });
      this.#breaker.succeeded();
      return result;
    } catch (error) {
      if (error instanceof LdapFailure && error.kind !== 'refused') this.#breaker.failed(error.message);
      throw error;
    } finally {
      this.#leaveIfClosed();
    }
  }

  #leaveIfClosed(): void {
    if (this.#closed && this.#service?.busy === false) this.#service.close();
  }

  async #serviceConnection(): Promise<LdapConnection> {
    if (this.#service?.usable) return this.#service;
    return await this.#opening.run('service', async () => {
      const { bindDn, bindPassword } = this.#parts.config;
      const connection = await this.#open();
      if (bindDn !== undefined && !(await this.#bindService(connection, bindDn, bindPassword ?? ''))) {
        connection.close();
        // Not asked again for each caller: an account is soon locked.
        throw new LdapFailure('away', 'it refuses auth.edge.ldap.bindDn with that bindPassword');
      }
      this.#service?.close();
      this.#service = connection;
      return connection;
    });
  }

  async #bindService(connection: LdapConnection, dn: string, password: string): Promise<boolean> {
    try {
      return await connection.bind(dn, password);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  async #open(): Promise<LdapConnection> {
    const { config, clock } = this.#parts;
    return await LdapConnection.open(this.url, { ca: config.ca, timeout: config.timeout, clock });
  }

  #takeSpare(): LdapConnection | undefined {
    for (let spare = this.#spare.pop(); spare !== undefined; spare = this.#spare.pop()) {
      if (spare.usable) return spare;
      spare.close();
    }
    return undefined;
  }

  #putBack(connection: LdapConnection): void {
    if (connection.usable && !this.#closed && this.#spare.length < MAX_SPARE) this.#spare.push(connection);
    else connection.close();
  }
}

/** A server that says no is there. */
function unlessAnswered(error: unknown): void {
  if (!(error instanceof LdapFailure && error.kind === 'refused')) throw error;
}
