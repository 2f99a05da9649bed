import { once } from 'node:events';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { Client, ResultCodeError, type Entry, type SearchOptions } from 'ldapts';
import type { Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';

const START_TLS = '1.3.6.1.4.1.1466.20037';
/** Of all answers that are awaited at once: ldapts itself would collect them without end. */
const MAX_RECEIVED_BYTES = 1024 * 1024;
/** A firewall between may have forgotten what was idle for longer, and says so to nobody. */
const LONGEST_IDLE_MS = 60_000;

/** RFC 4511, appendix A: what says no to this name with this password, and not that the server cannot say. */
const REFUSALS = new Set([19, 32, 34, 48, 49, 50, 53]);
/** Busy, unavailable. */
const AWAY = new Set([51, 52]);

/** What a server did not do. The message holds no password, and nothing in the server's own words. */
export class LdapFailure extends Error {
  override readonly name = 'LdapFailure';
  /** `lost`: the connection, so another may do; `away`: the server; `refused`: it answers, and says no. */
  readonly kind: 'lost' | 'away' | 'refused';

  constructor(kind: LdapFailure['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

export interface ConnectionOptions {
  /** PEM text; then these authorities alone are trusted. */
  readonly ca: string | undefined;
  /** Of each step, and of connecting in all. */
  readonly timeout: Milliseconds;
  readonly clock: Clock;
}

/** One connection over TLS. ldapts would make another by itself, in the clear with StartTLS: this one is over when it is. */
export class LdapConnection {
  readonly #client: Client;
  readonly #socket: TLSSocket;
  readonly #options: ConnectionOptions;
  #running = 0;
  #received = 0;
  #lastUsed: Milliseconds;

  private constructor(socket: TLSSocket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#lastUsed = options.clock.monotonic();
    this.#client = overSocket(socket, options.timeout);
    socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.byteLength;
      if (this.#received > MAX_RECEIVED_BYTES) socket.destroy();
    });
  }

  /** `url`: `ldaps://HOST[:PORT]`, or `ldap://HOST[:PORT]`, which is StartTLS. @throws {LdapFailure} */
  static async open(url: string, options: ConnectionOptions): Promise<LdapConnection> {
    return new LdapConnection(await openSecure(new URL(url), options), options);
  }

  get busy(): boolean {
    return this.#running > 0;
  }

  /** Whether something new may be asked over it. */
  get usable(): boolean {
    const idle = !this.busy && this.#options.clock.monotonic() - this.#lastUsed > LONGEST_IDLE_MS;
    return !this.#socket.destroyed && this.#socket.writable && !idle;
  }

  /** False when the server says no. A password that is empty must not come here: RFC 4513, 5.1.2 lets it in as nobody. @throws {LdapFailure} */
  async bind(dn: string, password: string): Promise<boolean> {
    if (dn === '' || password === '') return false;
    try {
      await this.#run(() => this.#client.bind(dn, password));
      return true;
    } catch (error) {
      if (error instanceof ResultCodeError && REFUSALS.has(error.code)) return false;
      throw this.#failureOf(error);
    }
  }

  /** What the server has itself: referrals are not followed. @throws {LdapFailure} */
  async search(base: string, options: SearchOptions): Promise<readonly Entry[]> {
    const timeLimit = Math.ceil(this.#options.timeout / 1000);
    try {
      const { searchEntries } = await this.#run(() => this.#client.search(base, { ...options, timeLimit }));
      return searchEntries;
    } catch (error) {
      throw this.#failureOf(error);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running === 0) this.#received = 0;
    this.#running += 1;
    try {
      return await work();
    } finally {
      this.#running -= 1;
      this.#lastUsed = this.#options.clock.monotonic();
    }
  }

  #failureOf(error: unknown): LdapFailure {
    if (error instanceof ResultCodeError)
      return new LdapFailure(
        AWAY.has(error.code) ? 'away' : 'refused',
        `it answers ${error.name} (${error.code})`,
      );
    const late = error instanceof Error && error.message.endsWith('Operation timed out');
    if (late) return new LdapFailure('away', `no answer within ${this.#options.timeout} ms`);
    if (this.#received > MAX_RECEIVED_BYTES) return new LdapFailure('refused', 'its answer is too long');
    return new LdapFailure('lost', 'the connection broke', { cause: error });
  }
}

/** A client of ldapts that speaks over this socket and never opens another; the URL is for its parser alone. */
function overSocket(socket: Socket, timeout: Milliseconds): Client {
  let given = false;
  const createConnection = (): Socket => {
    if (given) throw new Error('the connection is over');
    given = true;
    return socket;
  };
  return new Client({ url: 'ldap://over-a-given-socket', timeout, createConnection });
}

async function openSecure(url: URL, { ca, timeout }: ConnectionOptions): Promise<TLSSocket> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const secureAtOnce = url.protocol === 'ldaps:';
  const port = url.port === '' ? (secureAtOnce ? 636 : 389) : Number(url.port);
  const plain = connect({ host, port });
  // Whoever waits is told through `once`; what comes between two waits shows at the next.
  plain.on('error', () => undefined);
  let secure: TLSSocket | undefined;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    (secure ?? plain).destroy(new Error('late'));
  }, timeout);
  try {
    await once(plain, 'connect');
    if (!secureAtOnce) await startTls(plain, timeout);
    secure = connectTls({
      socket: plain,
      host,
      ...(isIP(host) === 0 && { servername: host }),
      ...(ca !== undefined && { ca }),
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
    });
    await once(secure, 'secureConnect');
    return secure;
  } catch (error) {
    secure?.destroy();
    plain.destroy();
    throw late ? new LdapFailure('away', `no connection within ${timeout} ms`) : whyNotOpen(error);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * By a client of its own, whose parser is left behind: octets that somebody in between has put after the answer must not be taken for
 * the beginning of what comes over TLS.
 */
async function startTls(plain: Socket, timeout: Milliseconds): Promise<void> {
  await overSocket(plain, timeout).exop(START_TLS);
  plain.removeAllListeners('data');
}

function whyNotOpen(error: unknown): LdapFailure {
  if (error instanceof ResultCodeError) return new LdapFailure('away', `it refuses StartTLS (${error.code})`);
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason';
  const ofCertificate = /CERT|SIGNED|ISSUER|VERIFY|ALTNAME/.test(code);
  const text = ofCertificate
    ? `its certificate is not trusted for that name (${code}): mend auth.edge.ldap.ca or the URL`
    : `no connection (${code})`;
  return new LdapFailure('away', text, { cause: error });
}
