import { LRUCache } from 'lru-cache';
import type { Clock } from '../lib/clock.ts';
import type { Brand } from '../lib/brand.ts';
import { parseDigest, type Digest } from '../oci/digest.ts';
import type { LocalRecords } from './embedded-store.ts';

/** What takes room on disk: a blob, or a manifest with its copies. */
export type IndexKey = Brand<string, 'IndexKey'>;
export type StoredKind = 'blob' | 'manifest';

export interface Stored {
  readonly kind: StoredKind;
  readonly digest: Digest;
  readonly size: number;
}

interface Entry {
  readonly size: number;
  lastUsed: number;
}

/** The last byte is spare: older records hold something there. */
const RECORD_BYTES = 17;
const LOAD_SLICE = 5000;

export const blobKey = (digest: Digest): IndexKey => digest as string as IndexKey;
export const manifestKey = (digest: Digest): IndexKey => `m ${digest}` as IndexKey;

/**
 * The order of eviction: everything stored, least recently used first, sized in bytes. Lives in the keeper; the records
 * behind it survive a restart, and are corrected against the files (which are the truth) by `reconcile`.
 */
export class BlobIndex {
  #entries = newCache();
  readonly #records: LocalRecords;
  readonly #clock: Clock;
  readonly #dirty = new Set<IndexKey>();
  /** What {@link load} has to make good at its end: keys removed and keys used before it had brought them back. */
  readonly #removedEarly = new Set<IndexKey>();
  readonly #usedEarly = new Map<IndexKey, number>();
  #loaded = false;
  #pinned: ReadonlySet<IndexKey> = new Set();

  constructor(records: LocalRecords, clock: Clock) {
    this.#records = records;
    this.#clock = clock;
  }

  get bytes(): number {
    return this.#entries.calculatedSize;
  }

  get count(): number {
    return this.#entries.size;
  }

  /** False until the order of the last run is known: nothing is evicted before. */
  get loaded(): boolean {
    return this.#loaded;
  }

  has(key: IndexKey): boolean {
    return this.#entries.has(key);
  }

  sizeOf(key: IndexKey): number | undefined {
    return this.#entries.peek(key)?.size;
  }

  async add(key: IndexKey, size: number): Promise<void> {
    const entry: Entry = { size: Math.max(1, size), lastUsed: this.#clock.now() };
    this.#entries.set(key, entry);
    await this.#records.put(key, encode(entry));
  }

  /** Most recently used from now on; written behind, by {@link flush}. */
  touch(key: IndexKey): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      entry.lastUsed = this.#clock.now();
      this.#dirty.add(key);
    } else if (!this.#loaded) {
      this.#usedEarly.delete(key);
      this.#usedEarly.set(key, this.#clock.now());
    }
  }

  /**
   * These and no others are never offered for eviction, whether they are here already or come later. Not kept: who
   * says what is pinned (`cache/pins`) says it again at each start, before {@link load}.
   */
  pinOnly(keys: ReadonlySet<IndexKey>): void {
    this.#pinned = keys;
  }

  isPinned(key: IndexKey): boolean {
    return this.#pinned.has(key);
  }

  /** Of what is pinned and here. */
  get pinnedBytes(): number {
    let sum = 0;
    for (const key of this.#pinned) sum += this.sizeOf(key) ?? 0;
    return sum;
  }

  async remove(key: IndexKey): Promise<void> {
    this.#entries.delete(key);
    this.#dirty.delete(key);
    if (!this.#loaded) this.#removedEarly.add(key);
    await this.#records.delete(key);
  }

  /** Unpinned entries, least recently used first. */
  *evictable(): Iterable<readonly [IndexKey, Stored]> {
    for (const key of this.#entries.rkeys()) {
      const entry = this.#entries.peek(key);
      if (entry !== undefined && !this.#pinned.has(key)) yield [key, describe(key, entry)];
    }
  }

  *all(): Iterable<Stored & { readonly lastUsed: number; readonly pinned: boolean }> {
    for (const [key, entry] of this.#entries.entries()) {
      yield { ...describe(key, entry), lastUsed: entry.lastUsed, pinned: this.#pinned.has(key) };
    }
  }

  /** Brings back the order of the last run, in slices, while the edge already serves; what was used since stays newest. */
  async load(): Promise<void> {
    const records: [IndexKey, Entry][] = [];
    for (const [key, value] of this.#records.entries()) {
      const entry = isIndexKey(key) ? decode(value) : undefined;
      if (entry !== undefined) records.push([key as IndexKey, entry]);
      if (records.length % LOAD_SLICE === 0) await nextTurn();
    }
    records.sort((a, b) => a[1].lastUsed - b[1].lastUsed);
    const loaded = newCache();
    for (const [position, [key, entry]] of records.entries()) {
      loaded.set(key, entry);
      if (position % LOAD_SLICE === 0) await nextTurn();
    }
    this.#makeGood(loaded);
    this.#entries = loaded;
    this.#loaded = true;
  }

  /** In one turn: what happened while the records were read is newer than the records. */
  #makeGood(loaded: LRUCache<IndexKey, Entry>): void {
    for (const key of this.#removedEarly) loaded.delete(key);
    this.#removedEarly.clear();
    for (const [key, lastUsed] of this.#usedEarly) {
      const entry = loaded.get(key);
      if (entry === undefined) continue;
      entry.lastUsed = lastUsed;
      this.#dirty.add(key);
    }
    this.#usedEarly.clear();
    const since = this.#entries;
    for (const key of since.rkeys()) {
      const entry = since.peek(key);
      if (entry !== undefined) loaded.set(key, entry);
    }
  }

  /** Writes the touches since the last call. */
  async flush(): Promise<void> {
    const writes: Promise<void>[] = [];
    for (const key of this.#dirty) {
      const entry = this.#entries.peek(key);
      if (entry !== undefined) writes.push(this.#records.put(key, encode(entry)));
    }
    this.#dirty.clear();
    await Promise.all(writes);
  }
}

function newCache(): LRUCache<IndexKey, Entry> {
  // The evictor decides what goes, since pins and the file system have a say: the cache only keeps order and sum.
  return new LRUCache({ maxSize: Number.MAX_SAFE_INTEGER, sizeCalculation: (entry: Entry) => entry.size });
}

function describe(key: IndexKey, entry: Entry): Stored {
  return key.startsWith('m ')
    ? { kind: 'manifest', digest: key.slice(2) as Digest, size: entry.size }
    : { kind: 'blob', digest: key as string as Digest, size: entry.size };
}

function isIndexKey(key: string): boolean {
  return parseDigest(key.startsWith('m ') ? key.slice(2) : key) !== undefined;
}

function encode(entry: Entry): Uint8Array {
  const record = Buffer.alloc(RECORD_BYTES);
  record.writeDoubleLE(entry.size, 0);
  record.writeDoubleLE(entry.lastUsed, 8);
  return record;
}

function decode(value: Uint8Array): Entry | undefined {
  if (value.byteLength !== RECORD_BYTES) return undefined;
  const record = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const size = record.readDoubleLE(0);
  const lastUsed = record.readDoubleLE(8);
  if (!Number.isSafeInteger(size) || size < 1 || !Number.isFinite(lastUsed)) return undefined;
  return { size, lastUsed };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
