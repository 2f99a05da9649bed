import type { Digest } from '../../oci/digest.ts';
import { blobKey, type BlobIndex, type IndexKey } from '../../store/blob-index.ts';
import type { KeeperCore, KeeperSession } from '../keeper-core.ts';
import type {
  BlobAnswer,
  FillProgress,
  FillState,
  KeeperEvent,
  ManifestAnswer,
  ManifestQuestion,
} from '../keeper.ts';
import type { RepositoryRef } from '../../oci/repository-ref.ts';

export interface WarmSessionParts {
  readonly core: KeeperCore;
  readonly index: BlobIndex;
}

export type BlobEnd =
  | { readonly outcome: 'cached'; readonly size: number }
  | { readonly outcome: 'fetched'; readonly size: number }
  | { readonly outcome: 'failed'; readonly problem: string }
  | { readonly outcome: 'temporary'; readonly problem: string }
  | { readonly outcome: 'stopped' };

/**
 * The keeper's own way to its cache: it asks like a worker, follows the fills, and reads no byte of them. One session
 * an image, so that no blob is asked for twice in one.
 */
export class WarmSession {
  readonly #parts: WarmSessionParts;
  readonly #session: KeeperSession;
  readonly #following = new Map<number, (progress: FillProgress) => void>();
  /** An event may overtake the answer that it follows. */
  readonly #early = new Map<number, FillProgress>();

  constructor(parts: WarmSessionParts) {
    this.#parts = parts;
    this.#session = parts.core.connect((event) => this.#on(event));
  }

  manifest(question: ManifestQuestion): Promise<ManifestAnswer> {
    return this.#session.manifest(question);
  }

  /** Fetches a blob unless it is here; `tell` hears how far it is. */
  async blob(
    repository: RepositoryRef,
    digest: Digest,
    tell: (progress: FillProgress) => void,
  ): Promise<BlobEnd> {
    const answer = await this.#session.blob({ repository, digest });
    if (answer.kind !== 'fill') return this.#withoutFill(digest, answer);
    const { state, size } = await this.#end(answer.fill, tell);
    // Out of the books: what was fetched is indexed by then, and another try is another fill.
    await this.#parts.core.parts.blobs.over(digest);
    switch (state.kind) {
      case 'running':
      case 'done':
        // The digest is right; the disk may have refused it all the same.
        if (this.#parts.index.has(blobKey(digest))) return { outcome: 'fetched', size };
        return { outcome: 'failed', problem: NO_ROOM };
      case 'detached':
        return { outcome: 'failed', problem: NO_ROOM };
      case 'failed':
        if (state.reason === 'stopped') return { outcome: 'stopped' };
        return {
          outcome: 'temporary',
          problem:
            state.reason === 'corrupt'
              ? 'what the upstream sent is something else'
              : 'the upstream broke off',
        };
    }
  }

  touch(keys: readonly IndexKey[]): void {
    this.#session.touch(keys);
  }

  close(): void {
    this.#session.close();
  }

  #withoutFill(digest: Digest, answer: Exclude<BlobAnswer, { kind: 'fill' }>): BlobEnd {
    if (answer.kind === 'limited') return { outcome: 'temporary', problem: TOO_MUCH };
    if (answer.kind === 'unavailable') return { outcome: 'temporary', problem: answer.reason };
    if (answer.kind === 'unknown') return { outcome: 'failed', problem: 'the upstream does not have it' };
    return { outcome: 'cached', size: this.#parts.index.sizeOf(blobKey(digest)) ?? 0 };
  }

  async #end(
    fill: FillProgress,
    tell: (progress: FillProgress) => void,
  ): Promise<{ state: FillState; size: number }> {
    const ended = Promise.withResolvers<FillProgress>();
    const see = (progress: FillProgress): void => {
      if (progress.state.kind === 'running') tell(progress);
      else ended.resolve(progress);
    };
    this.#following.set(fill.fillId, see);
    see(this.#early.get(fill.fillId) ?? fill);
    try {
      return await ended.promise;
    } finally {
      this.#following.delete(fill.fillId);
      this.#early.delete(fill.fillId);
    }
  }

  #on(event: KeeperEvent): void {
    if (event.kind !== 'fill') return;
    const { progress } = event;
    const see = this.#following.get(progress.fillId);
    if (see === undefined) this.#early.set(progress.fillId, progress);
    else see(progress);
  }
}

/** What the edge does by itself is not limited. */
const TOO_MUCH = 'too much is under way';
const NO_ROOM = 'the disk refused it, or it is more than storage.maxSize leaves room for';
