import { open, type Database, type RootDatabase } from 'lmdb';
import type { Clock } from '../lib/clock.ts';
import {
  StoreError,
  type LocalMetadata,
  type MetadataStore,
  type PutOptions,
  type Table,
} from './metadata-store.ts';

type Records = Database<Buffer, string>;
const TABLES: readonly Table[] = ['manifests', 'tags', 'links', 'tokens'];
/** Each value carries its expiry in front (milliseconds since the epoch, 0 for never): 8 bytes. */
const HEADER_BYTES = 8;
const COMPLETE = 'complete';
/** Sorts after every character that a key can hold. */
const AFTER_ALL = '\u{10FFFF}';

/**
 * `index`: LRU order and sizes of what is on this host's disk. `fills`: where each partial file comes from.
 * `state`: what is known of the metadata itself.
 */
export type LocalTable = 'index' | 'fills' | 'state';

/** Records that are about this host's disk: the keeper's own, never shared between edges. */
export interface LocalRecords {
  put(key: string, value: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  entries(): Iterable<readonly [string, Uint8Array]>;
}

/**
 * LMDB: memory-mapped, readable by the workers while the keeper writes. Lifetime: opened by the keeper for writing and
 * by each worker read-only; a value put by the keeper is seen by every read that starts after `put` has resolved.
 */
export class EmbeddedStore implements MetadataStore, LocalMetadata {
  readonly #root: RootDatabase<Buffer, string>;
  readonly #tables: ReadonlyMap<Table, Records>;
  readonly #local: ReadonlyMap<LocalTable, Records>;
  readonly #clock: Clock;
  readonly #writing = new Set<Promise<unknown>>();
  #closed = false;

  /** @throws {StoreError} `corrupt` or `unavailable` when the folder cannot be opened as a store. */
  constructor(folder: string, options: { clock: Clock; readOnly?: boolean }) {
    this.#clock = options.clock;
    try {
      this.#root = open({ path: folder, encoding: 'binary', maxDbs: 8, readOnly: options.readOnly ?? false });
      const table = (name: string): Records =>
        this.#root.openDB<Buffer, string>({ name, encoding: 'binary' });
      this.#tables = new Map(TABLES.map((name) => [name, table(name)]));
      this.#local = new Map([
        ['index', table('index')],
        ['fills', table('fills')],
        ['state', table('state')],
      ]);
    } catch (cause) {
      throw new StoreError('corrupt', `the metadata in ${folder} cannot be opened`, { cause });
    }
  }

  read(table: Table, key: string): Uint8Array | undefined {
    const records = this.#table(table);
    // Without this a read right after a message about a commit may still look through an older transaction.
    this.#root.resetReadTxn();
    const record = this.#attempt(() => records.getBinary(key));
    return record === undefined || this.#expired(record) ? undefined : record.subarray(HEADER_BYTES);
  }

  has(table: Table, key: string): boolean {
    return this.read(table, key) !== undefined;
  }

  get(table: Table, key: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.read(table, key));
  }

  async put(table: Table, key: string, value: Uint8Array, options: PutOptions = {}): Promise<void> {
    const record = Buffer.allocUnsafe(HEADER_BYTES + value.byteLength);
    record.writeDoubleLE(options.expiresAt ?? 0, 0);
    record.set(value, HEADER_BYTES);
    await this.#write(() => this.#table(table).put(key, record));
  }

  async delete(table: Table, key: string): Promise<void> {
    await this.#write(() => this.#table(table).remove(key));
  }

  async *entries(table: Table, prefix: string): AsyncIterable<readonly [string, Uint8Array]> {
    const records = this.#table(table);
    this.#root.resetReadTxn();
    for (const { key, value } of records.getRange({ start: prefix, end: prefix + AFTER_ALL })) {
      if (!this.#expired(value)) yield [key, value.subarray(HEADER_BYTES)];
    }
  }

  localRecords(name: LocalTable): LocalRecords {
    const records = this.#local.get(name);
    if (records === undefined) throw new StoreError('unavailable', `no table ${name}`);
    return {
      put: (key, value) => this.#write(() => records.put(key, Buffer.from(value))),
      delete: (key) => this.#write(() => records.remove(key)),
      *entries() {
        for (const { key, value } of records.getRange()) yield [key, value];
      },
    };
  }

  /** False for new metadata until {@link markComplete}: what the files tell is not all in it yet. */
  get complete(): boolean {
    return this.#local.get('state')?.doesExist(COMPLETE) ?? false;
  }

  async markComplete(): Promise<void> {
    await this.localRecords('state').put(COMPLETE, Uint8Array.of(1));
  }

  /**
   * Reads every record once. For the probe after an unclean end: a damaged page may well end a walk early and in
   * silence, so the records are counted against the number that the store has on record.
   * @throws {StoreError} `corrupt`, where the damage does not kill the process.
   */
  scan(): number {
    let total = 0;
    for (const [name, records] of [...this.#tables, ...this.#local]) {
      let count = 0;
      for (const _ of records.getRange()) count += 1;
      const { entryCount } = records.getStats() as { entryCount: number };
      if (count !== entryCount)
        throw new StoreError('corrupt', `${name}: ${count} records instead of ${entryCount}`);
      total += count;
    }
    return total;
  }

  /** Ends what is being written; whoever comes later is told that the store is closed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled(this.#writing);
    await this.#root.close();
  }

  #table(table: Table): Records {
    if (this.#closed) throw new StoreError('unavailable', 'the metadata store is closed');
    const records = this.#tables.get(table);
    if (records === undefined) throw new StoreError('unavailable', `no table ${table}`);
    return records;
  }

  #expired(record: Buffer): boolean {
    const expiresAt = record.readDoubleLE(0);
    return expiresAt !== 0 && expiresAt <= this.#clock.now();
  }

  #attempt<T>(read: () => T): T {
    try {
      return read();
    } catch (cause) {
      throw new StoreError('corrupt', 'a metadata record cannot be read', { cause });
    }
  }

  async #write(write: () => Promise<unknown>): Promise<void> {
    if (this.#closed) throw new StoreError('unavailable', 'the metadata store is closed');
    const writing = write();
    this.#writing.add(writing);
    try {
      await writing;
    } catch (cause) {
      const full = /ENOSPC|No space/.test(String(cause));
      throw new StoreError(full ? 'full' : 'unavailable', 'metadata was not written', { cause });
    } finally {
      this.#writing.delete(writing);
    }
  }
}
