import type { LocalRecords } from './embedded-store.ts';
import type { Table } from './metadata-store.ts';

/** A delete that the shared store has not taken yet. */
export interface OpenDelete {
  readonly table: Table;
  readonly key: string;
}

const MAX_OPEN = 20_000;
/** In front of the journal's keys, which others keep records beside. */
const JOURNAL = 'delete ';
const NOTHING = new Uint8Array();
const TABLES: readonly Table[] = ['manifests', 'tags', 'links', 'tokens'];

/**
 * Deletes that are under way or wait for the shared store to come back: until then its word on such a key counts for
 * nothing, or what was purged would come back from there. Those that wait are on disk, for the next run.
 */
export class OpenDeletes {
  readonly #journal: LocalRecords;
  readonly #events: { forgotDeletes(): void; storeFailed(error: unknown): void };
  readonly #open = new Map<string, OpenDelete>();
  readonly #journaled = new Set<string>();

  constructor(journal: LocalRecords, events: { forgotDeletes(): void; storeFailed(error: unknown): void }) {
    this.#journal = journal;
    this.#events = events;
    for (const [entry] of journal.entries()) {
      const space = entry.indexOf(' ', JOURNAL.length);
      const table = TABLES.find((name) => name === entry.slice(JOURNAL.length, space));
      if (!entry.startsWith(JOURNAL) || table === undefined) continue;
      this.#journaled.add(nameOf(this.begin(table, entry.slice(space + 1))));
    }
  }

  get size(): number {
    return this.#open.size;
  }

  has(table: Table, key: string): boolean {
    return this.#open.has(nameOf({ table, key }));
  }

  current(table: Table, key: string): OpenDelete | undefined {
    return this.#open.get(nameOf({ table, key }));
  }

  all(): OpenDelete[] {
    return [...this.#open.values()];
  }

  /** Each call is a delete of its own: an earlier one that ends does not end this one. */
  begin(table: Table, key: string): OpenDelete {
    const open = { table, key };
    this.#open.set(nameOf(open), open);
    return open;
  }

  async done(open: OpenDelete): Promise<void> {
    const name = nameOf(open);
    if (this.#open.get(name) !== open) return;
    this.#open.delete(name);
    await this.#strike(name);
  }

  async postpone(open: OpenDelete): Promise<void> {
    const [oldest] = this.#open.keys();
    if (this.#open.size > MAX_OPEN && oldest !== undefined) {
      this.#open.delete(oldest);
      this.#events.forgotDeletes();
      await this.#strike(oldest);
    }
    const name = nameOf(open);
    if (this.#open.get(name) !== open || this.#journaled.has(name)) return;
    this.#journaled.add(name);
    await this.#attempt(() => this.#journal.put(JOURNAL + name, NOTHING));
  }

  async #strike(name: string): Promise<void> {
    if (this.#journaled.delete(name)) await this.#attempt(() => this.#journal.delete(JOURNAL + name));
  }

  /** Without the disk they are remembered as long as this process lives. */
  async #attempt(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      this.#events.storeFailed(error);
    }
  }
}

function nameOf({ table, key }: OpenDelete): string {
  return `${table} ${key}`;
}
