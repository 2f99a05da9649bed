import { Cluster, type Redis } from 'ioredis';
import { MiB, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import type { MetadataStore, PutOptions, Table } from '../metadata-store.ts';
import type { RedisConnection } from './redis-connection.ts';
import { RedisError } from './redis-failure.ts';
import { RECORD_OVERHEAD, type OpenRecord, type SealedRecords } from './sealed-records.ts';

/** The largest manifest, its media type, its key. */
const MAX_RECORD_BYTES = 4 * MiB + 64 * 1024 + RECORD_OVERHEAD;
/** What has no end of its own leaves Redis so long after it was last put: an abandoned one does not grow for ever. */
const KEPT_FOR: Milliseconds = seconds(30 * 24 * 60 * 60);
/** Edges' clocks differ: the record itself says when it ends, Redis only clears it away afterwards. */
const CLEARED_AFTER: Milliseconds = seconds(60);
const SCAN_COUNT = 1000;

export interface RedisStoreOptions {
  readonly clock: Clock;
  /** In front of every key. */
  readonly prefix: string;
  /** A record that is not what an edge of this site wrote: it is a miss. */
  readonly corrupt: (table: Table) => void;
}

/**
 * The metadata that the edges of a site share. One key a record, no command spans two, so that a cluster can keep them
 * anywhere. All that is read is bounded, verified and copied. The connection is its opener's to close.
 */
export class RedisStore implements MetadataStore {
  readonly #connection: RedisConnection;
  readonly #records: SealedRecords;
  readonly #options: RedisStoreOptions;
  readonly #writing = new Map<string, Promise<unknown>>();

  constructor(connection: RedisConnection, records: SealedRecords, options: RedisStoreOptions) {
    this.#connection = connection;
    this.#records = records;
    this.#options = options;
  }

  async get(table: Table, key: string): Promise<Uint8Array | undefined> {
    return (await this.find(table, key))?.value;
  }

  /** As {@link get}, with the end of the value's life. */
  async find(table: Table, key: string): Promise<OpenRecord | undefined> {
    const record = await this.#read(table, this.#records.nameOf(table, key));
    return record?.key === key ? record : undefined;
  }

  async put(table: Table, key: string, value: Uint8Array, { expiresAt }: PutOptions = {}): Promise<void> {
    const left = expiresAt === undefined ? KEPT_FOR : expiresAt - this.#options.clock.now();
    if (left <= 0) return await this.delete(table, key);
    const name = this.#records.nameOf(table, key);
    const record = this.#records.seal(name, { key, value, expiresAt });
    if (record.byteLength > MAX_RECORD_BYTES)
      throw new RedisError('full', `a record of ${record.byteLength} bytes is not shared`);
    const clearedAfter = Math.ceil(expiresAt === undefined ? left : left + CLEARED_AFTER);
    const full = this.#options.prefix + name;
    await this.#inOrder(full, () =>
      this.#connection.run('put', (client) => client.set(full, record, 'PX', clearedAfter)),
    );
  }

  async delete(table: Table, key: string): Promise<void> {
    const name = this.#options.prefix + this.#records.nameOf(table, key);
    await this.#inOrder(name, () => this.#connection.run('delete', (client) => client.del(name)));
  }

  /**
   * One write of a key at a time: a cluster answers a command that came to the wrong node with where to go, and what was
   * sent after it may then be there before it.
   */
  async #inOrder(name: string, write: () => Promise<unknown>): Promise<void> {
    const before = this.#writing.get(name);
    const writing = before === undefined ? write() : before.then(write, write);
    this.#writing.set(name, writing);
    try {
      await writing;
    } finally {
      if (this.#writing.get(name) === writing) this.#writing.delete(name);
    }
  }

  /**
   * Walks over everything, since names say nothing: for tools and tests. On the way of a pull nobody asks for more than
   * one key, and a second structure beside the records would have to be kept true.
   */
  async *entries(table: Table, prefix: string): AsyncIterable<readonly [string, Uint8Array]> {
    const found = new Set<string>();
    for await (const name of this.#names(table)) {
      const record = await this.#read(table, name);
      if (record?.key.startsWith(prefix) === true) found.add(record.key);
    }
    for (const key of [...found].toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
      const value = await this.get(table, key);
      if (value !== undefined) yield [key, value];
    }
  }

  async close(): Promise<void> {
    // Nothing is held here.
  }

  async #read(table: Table, name: string): Promise<OpenRecord | undefined> {
    // GETRANGE and not GET: what somebody else has put there may be of any size.
    const answer: unknown = await this.#connection.run('get', (client) =>
      client.getrangeBuffer(this.#options.prefix + name, 0, MAX_RECORD_BYTES),
    );
    if (Buffer.isBuffer(answer) && answer.byteLength === 0) return undefined;
    const record = Buffer.isBuffer(answer) ? this.#records.open(name, answer) : undefined;
    if (record === undefined) this.#options.corrupt(table);
    const expired = record?.expiresAt !== undefined && record.expiresAt <= this.#options.clock.now();
    return expired ? undefined : record;
  }

  async *#names(table: Table): AsyncIterable<string> {
    const { prefix } = this.#options;
    const pattern = `${prefix.replaceAll(/[\\*?[\]]/g, '\\$&')}${table}:*`;
    const masters = await this.#connection.run('scan', async (client) =>
      client instanceof Cluster ? client.nodes('master') : [client],
    );
    for (const master of masters) {
      for (let cursor = '0', first = true; first || cursor !== '0'; first = false) {
        const [next, names] = await this.#connection.run('scan', () => scan(master, cursor, pattern));
        cursor = next;
        for (const name of names) yield name.slice(prefix.length);
      }
    }
  }
}

/** @throws {RedisError} when the answer has another form. */
async function scan(master: Redis, cursor: string, pattern: string): Promise<[string, string[]]> {
  const answer: unknown = await master.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT);
  const [next, names]: unknown[] = Array.isArray(answer) ? answer : [];
  if (typeof next !== 'string' || !Array.isArray(names))
    throw new RedisError('corrupt', 'Redis answers something else than was asked');
  return [next, names.filter((name) => typeof name === 'string')];
}
