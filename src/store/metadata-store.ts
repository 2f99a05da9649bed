import type { Milliseconds } from '../lib/brand.ts';

/**
 * What is kept besides blobs. `manifests`: digest → type and bytes. `tags`: repository and tag → digest and time.
 * `links`: digest and repository → nothing (being there is what counts). `tokens`: sealed upstream tokens.
 */
export type Table = 'manifests' | 'tags' | 'links' | 'tokens';

export interface PutOptions {
  /** Wall-clock time after which the value is gone. */
  readonly expiresAt?: Milliseconds;
}

/**
 * One interface for the embedded, the shared and the tiered store; one conformance suite for all.
 * A miss is `undefined`. A store that cannot answer throws {@link StoreError}; callers go on as on a miss.
 */
export interface MetadataStore {
  get(table: Table, key: string): Promise<Uint8Array | undefined>;
  /** Resolves when every reader of this host sees the value. */
  put(table: Table, key: string, value: Uint8Array, options?: PutOptions): Promise<void>;
  delete(table: Table, key: string): Promise<void>;
  /** Entries whose key starts with `prefix`, in key order. */
  entries(table: Table, prefix: string): AsyncIterable<readonly [string, Uint8Array]>;
  close(): Promise<void>;
}

/** What the edges of a site share, past this edge's own copies. */
export interface SharedMetadata {
  /** What is shared now; it takes the place of the copy here. Undefined also when it cannot be had in time. */
  latest(table: Table, key: string): Promise<Uint8Array | undefined>;
}

/** An edge without siblings. */
export const NOTHING_SHARED: SharedMetadata = { latest: async () => undefined };

/** Reading without waiting, for the worker's way of a hit: the embedded store of this host, nothing behind it. */
export interface LocalMetadata {
  read(table: Table, key: string): Uint8Array | undefined;
  has(table: Table, key: string): boolean;
}

export type StoreFailure = 'full' | 'unavailable' | 'corrupt';

export class StoreError extends Error {
  readonly kind: StoreFailure;

  constructor(kind: StoreFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreError';
    this.kind = kind;
  }
}
