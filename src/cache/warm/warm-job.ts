import type { Digest } from '../../oci/digest.ts';
import type { ImageReference } from '../../oci/image-reference.ts';
import type { PlatformChoice } from '../../oci/platform.ts';

/** Images to be had before anybody asks for them. */
export interface WarmJob {
  readonly images: readonly ImageReference[];
  /** Undefined: what this host would pull, or what is here when something is here already and is only to be pinned. */
  readonly platforms: PlatformChoice | undefined;
  /** Kept for good once it is whole. */
  readonly pin: boolean;
}

/** What became of an image. Plain data: it is sent over the control socket. */
export interface WarmedImage {
  readonly image: string;
  /**
   * `complete`: all of it is here, and it is what the upstream has. `stale`: all is here of what the upstream had when
   * it was last heard. `stopped`: nobody waited for it any more, or the edge stops.
   */
  readonly outcome: 'complete' | 'stale' | 'failed' | 'stopped';
  readonly digest: Digest | undefined;
  readonly platforms: string;
  readonly fetchedBlobs: number;
  readonly fetchedBytes: number;
  readonly cachedBlobs: number;
  readonly pinned: boolean;
  /** Why it is not whole, each fit for an operator. */
  readonly problems: readonly string[];
  /** Another try later may find the upstream in a better state. */
  readonly temporary: boolean;
}

/** What happens on the way. Plain data, as {@link WarmedImage}. */
export type WarmEvent =
  | { readonly kind: 'image'; readonly image: string; readonly platforms: string; readonly blobs: number }
  | {
      readonly kind: 'progress';
      readonly image: string;
      readonly digest: Digest;
      readonly size: number;
      readonly received: number;
    }
  | {
      readonly kind: 'blob';
      readonly image: string;
      readonly digest: Digest;
      readonly outcome: BlobOutcome;
      readonly size: number;
      readonly problem?: string;
    }
  | {
      readonly kind: 'retry';
      readonly image: string;
      readonly what: string;
      readonly problem: string;
      readonly inMs: number;
    }
  | { readonly kind: 'done'; readonly result: WarmedImage };

export type BlobOutcome = 'cached' | 'fetched' | 'failed';
