import { MiB, seconds, type Milliseconds } from '../lib/brand.ts';
import type { Clock } from '../lib/clock.ts';
import { SingleFlight } from '../lib/single-flight.ts';
import type { LocalRecords } from './embedded-store.ts';
import {
  StoreError,
  type MetadataStore,
  type PutOptions,
  type SharedMetadata,
  type Table,
} from './metadata-store.ts';
import { OpenDeletes } from './open-deletes.ts';

/** What is asked of the store that several edges share: as {@link MetadataStore}, and it tells how long a value lives. */
export interface SharedStore extends Pick<MetadataStore, 'put' | 'delete'> {
  find(
    table: Table,
    key: string,
  ): Promise<{ readonly value: Uint8Array; readonly expiresAt: Milliseconds | undefined } | undefined>;
}

/** Tags move, so two records of one can differ. What a record says is not the store's to know. */
export interface TagRecords {
  /** This host's record needs no second opinion. */
  fresh(key: string, record: Uint8Array): boolean;
  /** Which one has the later word of the upstream, fit to be kept here; neither, when none can be believed. */
  latest(local: Uint8Array | undefined, shared: Uint8Array): Uint8Array | undefined;
}

export interface TieredEvents {
  /** A write did not reach the shared store: another edge asks the upstream itself. */
  droppedWrite(): void;
  /** More was purged, while the shared store was away, than is remembered: it may come back from there. */
  forgotDeletes(): void;
  storeFailed(error: unknown): void;
}

export interface TieredStoreParts {
  readonly embedded: MetadataStore;
  readonly shared: SharedStore;
  /** Where deletes wait that the shared store has not taken, across restarts. */
  readonly journal: LocalRecords;
  readonly clock: Clock;
  readonly tags: TagRecords;
  readonly events: TieredEvents;
}

/** Of writes on their way to the shared store: a slow one costs sharing, never memory. */
const MAX_PENDING_WRITES = 1000;
const MAX_PENDING_BYTES = 32 * MiB;
const RETRY_PAUSE = seconds(5);

/**
 * The embedded store with the site's shared one behind it, for the keeper alone: workers read the embedded one, so that
 * a hit never waits for Redis. Reads ask the shared store for what this host does not have, or has of old (tags); what
 * comes is kept here, but for manifests: those come in where all manifests do (`ManifestStore`). Writes wait for the
 * embedded store only. Whatever the shared store does is at worst a miss.
 */
export class TieredStore implements MetadataStore, SharedMetadata {
  readonly #parts: TieredStoreParts;
  readonly #asking = new SingleFlight<string, Uint8Array | undefined>();
  readonly #deletes: OpenDeletes;
  readonly #writing = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #pendingBytes = 0;
  /** Counts up, so that an answer that was under way during a delete is not believed. */
  #deletesBegun = 0;
  #retrying = false;

  constructor(parts: TieredStoreParts) {
    this.#parts = parts;
    this.#deletes = new OpenDeletes(parts.journal, parts.events);
    this.#retryLater();
  }

  async get(table: Table, key: string): Promise<Uint8Array | undefined> {
    const { embedded, tags } = this.#parts;
    const local = await embedded.get(table, key);
    if (local !== undefined && (table !== 'tags' || tags.fresh(key, local))) return local;
    return await this.#asking.run(`${table} ${key}`, () => this.#consult(table, key));
  }

  async latest(table: Table, key: string): Promise<Uint8Array | undefined> {
    const found = await this.#find(table, key);
    if (found !== undefined) await this.#keep(table, key, found.value, found.expiresAt);
    return found?.value;
  }

  async put(table: Table, key: string, value: Uint8Array, options: PutOptions = {}): Promise<void> {
    // Both begin at once, so that writes reach both stores in the order in which they were asked for.
    const kept = this.#parts.embedded.put(table, key, value, options);
    this.#share(table, key, value, options);
    await kept;
  }

  /** Resolves when the shared store has forgotten it too, or cannot now: then it is asked again, until it has. */
  async delete(table: Table, key: string): Promise<void> {
    this.#deletesBegun += 1;
    const open = this.#deletes.begin(table, key);
    const gone = this.#parts.embedded.delete(table, key);
    try {
      await this.#parts.shared.delete(table, key);
      await this.#deletes.done(open);
    } catch (error) {
      this.#expect(error);
      await this.#deletes.postpone(open);
      this.#retryLater();
    }
    await gone;
  }

  /** Of this host: whoever lists or clears wants what is here. */
  entries(table: Table, prefix: string): AsyncIterable<readonly [string, Uint8Array]> {
    return this.#parts.embedded.entries(table, prefix);
  }

  /** The shared store's connection is its opener's to close, afterwards. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#writing);
    await this.#parts.embedded.close();
  }

  async #consult(table: Table, key: string): Promise<Uint8Array | undefined> {
    const { embedded, tags } = this.#parts;
    const found = await this.#find(table, key);
    // Looked up again: it may have been put meanwhile.
    const local = await embedded.get(table, key);
    if (found === undefined) return local;
    if (table !== 'tags' && local !== undefined) return local;
    const chosen = table === 'tags' ? tags.latest(local, found.value) : found.value;
    if (chosen === undefined || chosen === local || table === 'manifests') return chosen;
    await this.#keep(table, key, chosen, found.expiresAt);
    return chosen;
  }

  async #keep(table: Table, key: string, value: Uint8Array, expiresAt?: Milliseconds): Promise<void> {
    try {
      await this.#parts.embedded.put(table, key, value, expiresAt === undefined ? {} : { expiresAt });
    } catch (error) {
      this.#parts.events.storeFailed(error);
    }
  }

  async #find(table: Table, key: string): ReturnType<SharedStore['find']> {
    const before = this.#deletesBegun;
    if (this.#deletes.has(table, key)) return undefined;
    try {
      const found = await this.#parts.shared.find(table, key);
      return this.#deletesBegun === before ? found : undefined;
    } catch (error) {
      this.#expect(error);
      return undefined;
    }
  }

  #share(table: Table, key: string, value: Uint8Array, options: PutOptions): void {
    const { shared, events } = this.#parts;
    const size = value.byteLength;
    if (this.#writing.size >= MAX_PENDING_WRITES || this.#pendingBytes + size > MAX_PENDING_BYTES)
      return events.droppedWrite();
    const open = this.#deletes.current(table, key);
    const write = async (): Promise<void> => {
      try {
        await shared.put(table, key, value, options);
        // What is there now is no longer what was to be deleted.
        if (open !== undefined) await this.#deletes.done(open);
      } catch (error) {
        this.#expect(error);
        events.droppedWrite();
      }
    };
    this.#pendingBytes += size;
    const writing = write().finally(() => {
      this.#pendingBytes -= size;
      this.#writing.delete(writing);
    });
    this.#writing.add(writing);
  }

  #retryLater(): void {
    if (this.#retrying || this.#deletes.size === 0) return;
    this.#retrying = true;
    void this.#retry().finally(() => (this.#retrying = false));
  }

  async #retry(): Promise<void> {
    const { clock, shared } = this.#parts;
    while (this.#deletes.size > 0) {
      try {
        await clock.sleep(RETRY_PAUSE, this.#closing.signal);
        for (const open of this.#deletes.all()) {
          await shared.delete(open.table, open.key);
          await this.#deletes.done(open);
        }
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        this.#expect(error);
      }
    }
  }

  /** The shared store may fail, and has told so itself; anything else is a mistake of ours and must be seen. */
  #expect(error: unknown): void {
    if (!(error instanceof StoreError)) this.#parts.events.storeFailed(error);
  }
}
