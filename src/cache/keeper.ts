import type { AuditEntry } from '../audit/audit-entry.ts';
import type { Digest } from '../oci/digest.ts';
import type { Asker } from '../oci/granted.ts';
import type { Milliseconds } from '../lib/brand.ts';
import type { Page } from '../oci/page.ts';
import type { Reference } from '../oci/reference.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import type { IndexKey } from '../store/blob-index.ts';
import type { Usage } from '../lib/limits/usage.ts';

export type { IndexKey };

/**
 * What a worker asks of the keeper. Called in-process with one worker and over typed IPC messages otherwise, so every
 * question and answer is plain data, and what can be expected to happen is an answer, not an exception.
 */
export interface Keeper {
  manifest(question: ManifestQuestion): Promise<ManifestAnswer>;
  /** For a reader of the body: joins the running fill of this digest, or starts one. */
  blob(question: BlobQuestion): Promise<BlobAnswer>;
  /** For `HEAD`: what the upstream says of it; starts no fill. */
  blobSize(question: BlobQuestion): Promise<BlobSizeAnswer>;
  listing(question: ListingQuestion): Promise<ListingAnswer>;
  /** A blob whose fill could not go on to the disk. Undefined when the fill is not known any more. */
  openBypass(question: BypassQuestion): Promise<number | undefined>;
  /** The next bytes of a bypass, undefined after the last; throws when the body is broken or wrong. */
  readBypass(ticket: number): Promise<Uint8Array | undefined>;
  closeBypass(ticket: number): void;
  /** The file of a blob seems damaged: it is hashed, and set aside if it is. Resolves when that is done. */
  suspect(digest: Digest): Promise<void>;
  /** With `auth.mode: upstream`: what the upstream says to a caller. */
  verdict(question: VerdictQuestion): Promise<VerdictAnswer>;
  /** A client changed the upstream through this edge: what was known of it here is forgotten when this resolves. */
  pushed(notice: PushNotice): Promise<void>;
  /** These were used; order within a batch does not matter. */
  touch(keys: readonly IndexKey[]): void;
  /** These go on record, where a record is kept. */
  audit(entries: readonly AuditEntry[]): void;
  /** Callers' requests, for those who count the same callers. */
  used(usage: Usage): void;
}

/** Who wants it; absent for what the edge does by itself. */
interface OnBehalf {
  readonly asker?: Asker;
}

export interface BlobQuestion extends OnBehalf {
  readonly repository: RepositoryRef;
  readonly digest: Digest;
}

export interface BypassQuestion {
  readonly fillId: number;
  /** What came to the partial file is not needed again; false when the asker could not open that file. */
  readonly restOnly: boolean;
}

export interface ManifestQuestion extends OnBehalf {
  readonly repository: RepositoryRef;
  readonly reference: Reference;
}

/** What a push changed at the upstream. */
export type PushNotice = {
  readonly repository: RepositoryRef;
  /** It was deleted, not put. */
  readonly gone: boolean;
} & (
  | { readonly kind: 'manifest'; readonly references: readonly Reference[] }
  | { readonly kind: 'blob'; readonly digest: Digest }
);

/** How an answer came about, for `Cache-Status` (RFC 9211) and the metrics. */
export type CacheResult = 'hit' | 'stale' | 'miss' | 'collapsed' | 'revalidated' | 'bypass';

/** The upstream cannot answer now; `reason` is fit for a client. */
export interface Unavailable {
  readonly kind: 'unavailable';
  readonly reason: string;
}
/** The upstream says that there is no such thing, or not for us: the two look the same. */
export interface Unknown {
  readonly kind: 'unknown';
}
/** The caller has too much under way, or has asked too often for what there is not: for later. Nothing was asked. */
export interface Limited {
  readonly kind: 'limited';
  readonly limit: 'fills' | 'unknown';
  readonly retryAfterSeconds: number;
}

/** The upstream wants the caller to identify, or otherwise than they did. */
export interface NotAuthorized {
  readonly kind: 'unauthorized';
  /** Values of `WWW-Authenticate`. */
  readonly challenges: readonly string[];
}

export interface VerdictQuestion {
  readonly upstream: string;
  /** By what the caller is counted; absent: not at all. */
  readonly caller?: string;
  /** What is to be read; absent: `/v2/`. */
  readonly wanted?: {
    readonly repository: RepositoryRef;
    /** Below the repository: `manifests/latest`, `blobs/sha256:…`; absent for its lists. */
    readonly path?: string;
  };
  /** What the caller shows; absent: nothing. A secret: never kept, never logged. */
  readonly authorization?: string;
}

export type VerdictAnswer =
  | {
      readonly kind: 'allowed';
      /** The caller need not be asked about for so long; 0 for this once. */
      readonly freshFor: Milliseconds;
      /** The upstream lets in nobody who shows nothing: who it lets in is who they say. */
      readonly identified: boolean;
    }
  | NotAuthorized
  /** Not for this caller, or not there: the two look the same. */
  | Unknown
  | Unavailable
  | Limited;

export type ManifestAnswer =
  | {
      readonly kind: 'manifest';
      readonly digest: Digest;
      readonly mediaType: string;
      readonly content: Uint8Array;
      readonly result: CacheResult;
    }
  | NotAuthorized
  | Unknown
  | Unavailable
  | Limited
  /** The upstream's manifest breaks the rules; `reason` is fit for a client. */
  | { readonly kind: 'invalid'; readonly reason: string };

export type BlobAnswer =
  /** On disk, and this repository may show it. */
  | { readonly kind: 'stored' }
  | { readonly kind: 'fill'; readonly fill: FillProgress; readonly joined: boolean }
  | NotAuthorized
  | Unknown
  | Unavailable
  | Limited;

export type BlobSizeAnswer =
  | { readonly kind: 'size'; readonly size: number; readonly stored: boolean }
  | NotAuthorized
  | Unknown
  | Unavailable
  | Limited;

export type ListingQuestion = OnBehalf &
  (
    | { readonly kind: 'tags'; readonly repository: RepositoryRef; readonly page: Page }
    | {
        readonly kind: 'referrers';
        readonly repository: RepositoryRef;
        readonly digest: Digest;
        readonly artifactType: string | undefined;
        readonly page: Page;
      }
    /** The repositories of one upstream, by its own names. */
    | { readonly kind: 'catalog'; readonly upstream: string; readonly page: Page }
  );

export type ListingAnswer =
  | {
      readonly kind: 'listing';
      /** A JSON array: tags, descriptors (of the asked artifact type only) or repository names. */
      readonly entries: Uint8Array;
      readonly next: Page | undefined;
      readonly result: CacheResult;
    }
  | NotAuthorized
  | Unknown
  | Unavailable
  | Limited
  /** The upstream's list cannot be used; `reason` is fit for a client. */
  | { readonly kind: 'invalid'; readonly reason: string };

/** Where a fill stands, as its followers see it. */
export interface FillProgress {
  readonly fillId: number;
  /** Of the whole blob. */
  readonly size: number;
  /** Bytes from the start of the partial file that may be shown: the last piece only when the digest is right. */
  readonly available: number;
  readonly state: FillState;
}

export type FillState =
  | { readonly kind: 'running' }
  /** The digest is right; all of it may be shown. */
  | { readonly kind: 'done' }
  /** The body cannot be had or is wrong: followers end short, never cleanly. */
  | { readonly kind: 'failed'; readonly reason: FillFailure }
  /** The disk refused: the bytes up to `at` are in the partial file, the rest comes through a bypass. */
  | { readonly kind: 'detached'; readonly at: number };

export type FillFailure = 'corrupt' | 'interrupted' | 'stopped';

export type KeeperEvent =
  | { readonly kind: 'fill'; readonly progress: FillProgress }
  /** Whether an upstream can be asked at the moment. */
  | { readonly kind: 'upstream'; readonly name: string; readonly available: boolean }
  /** What callers have used of their rates elsewhere. */
  | { readonly kind: 'usage'; readonly usage: Usage; readonly by: 'workers' | 'edges' };
