import type { Digest } from '../oci/digest.ts';
import type { Asker, GrantedRepository } from '../oci/granted.ts';
import type { Page } from '../oci/page.ts';
import type { Reference } from '../oci/reference.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import type { ReadBudget } from '../lib/read-budget.ts';
import type { BlobFiles, OpenFile } from '../store/blob-files.ts';
import { blobKey, manifestKey, type IndexKey } from '../store/blob-index.ts';
import { FollowedBody, MemoryBody, StoredBody, type BlobBody } from './fills/blob-body.ts';
import { Follows } from './fills/follow.ts';
import { SharedWindow } from './fills/shared-window.ts';
import type {
  BlobAnswer,
  BlobSizeAnswer,
  CacheResult,
  Keeper,
  KeeperEvent,
  Limited,
  ListingAnswer,
  ManifestAnswer,
  NotAuthorized,
  PushNotice,
  Unavailable,
  Unknown,
} from './keeper.ts';
import type { LocalCache } from './local-cache.ts';
import type { ManifestEntry } from './manifests/manifest-store.ts';

/** The keeper may commit or lose a blob between its answer and our open; then the question is asked again. */
const TRIES = 3;
const TOUCH_INTERVAL_MS = 1000;

export type BlobFound =
  | { readonly kind: 'blob'; readonly body: BlobBody; readonly result: CacheResult }
  | NotAuthorized
  | Unknown
  | Unavailable
  | Limited;

const NOT_DELIVERABLE: Unavailable = {
  kind: 'unavailable',
  reason: 'the upstream cannot be reached, and not all of this image is in the cache',
};

/** The cache as a worker's request sees it: hits from here alone, everything else through the keeper. */
export class EdgeCache {
  readonly #local: LocalCache;
  readonly #keeper: Keeper;
  readonly #files: BlobFiles;
  readonly #buffers: ReadBudget;
  readonly #follows = new Follows();
  readonly #down = new Set<string>();
  readonly #used = new Set<IndexKey>();
  readonly #touching: NodeJS.Timeout;

  constructor(local: LocalCache, keeper: Keeper, files: BlobFiles, buffers: ReadBudget) {
    this.#local = local;
    this.#keeper = keeper;
    this.#files = files;
    this.#buffers = buffers;
    this.#touching = setInterval(() => this.#touch(), TOUCH_INTERVAL_MS).unref();
  }

  /** The keeper's events come in here. */
  on(event: KeeperEvent): void {
    if (event.kind === 'fill') this.#follows.on(event);
    if (event.kind !== 'upstream') return;
    if (event.available) this.#down.delete(event.name);
    else this.#down.add(event.name);
  }

  /** What can be answered without waiting for anybody; undefined is no word on anything else. */
  manifestAtHand(repository: GrantedRepository, reference: Reference): ManifestEntry | undefined {
    if (this.#down.has(repository.upstream)) return undefined;
    const entry = this.#localManifest(repository, reference);
    if (entry !== undefined) this.#used.add(manifestKey(entry.digest));
    return entry;
  }

  /** As {@link manifestAtHand}: a small blob that is in memory. */
  blobAtHand(repository: GrantedRepository, digest: Digest): Uint8Array | undefined {
    const content = this.#local.smallBlob(repository, digest);
    if (content !== undefined) this.#used.add(blobKey(digest));
    return content;
  }

  async manifest(repository: GrantedRepository, reference: Reference): Promise<ManifestAnswer> {
    const entry = this.#localManifest(repository, reference);
    const answer: ManifestAnswer =
      entry === undefined
        ? await this.#keeper.manifest({ ...asked(repository), reference })
        : { kind: 'manifest', ...entry, result: 'hit' };
    if (answer.kind !== 'manifest') return answer;
    this.#used.add(manifestKey(answer.digest));
    if (this.#down.has(repository.upstream) && !(await this.#local.deliverable(answer)))
      return NOT_DELIVERABLE;
    return answer;
  }

  async blob(repository: GrantedRepository, digest: Digest): Promise<BlobFound> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const stored = await this.#local.blob(repository, digest);
      if (stored === 'damaged') await this.#keeper.suspect(digest);
      else if (stored !== undefined) return this.#hit(digest, stored);
      const answer = await this.#keeper.blob({ ...asked(repository), digest });
      const found = await this.#open(digest, answer);
      if (found !== undefined) return found;
    }
    return { kind: 'unavailable', reason: 'the blob went away while it was opened' };
  }

  async blobSize(repository: GrantedRepository, digest: Digest): Promise<BlobSizeAnswer> {
    const stored = await this.#local.blob(repository, digest);
    if (stored === undefined || stored === 'damaged')
      return await this.#keeper.blobSize({ ...asked(repository), digest });
    this.#used.add(blobKey(digest));
    if (stored instanceof Uint8Array) return { kind: 'size', size: stored.byteLength, stored: true };
    await stored.close();
    return { kind: 'size', size: stored.size, stored: true };
  }

  tags(repository: GrantedRepository, page: Page): Promise<ListingAnswer> {
    return this.#keeper.listing({ kind: 'tags', ...asked(repository), page });
  }

  referrers(
    repository: GrantedRepository,
    digest: Digest,
    artifactType: string | undefined,
    page: Page,
  ): Promise<ListingAnswer> {
    return this.#keeper.listing({ kind: 'referrers', ...asked(repository), digest, artifactType, page });
  }

  /** Which of the names the caller may see is for the asker to find out. */
  catalog(upstream: string, page: Page): Promise<ListingAnswer> {
    return this.#keeper.listing({ kind: 'catalog', upstream, page });
  }

  pushed(notice: PushNotice): Promise<void> {
    return this.#keeper.pushed({ ...notice, ...withoutAsker(notice.repository) });
  }

  close(): void {
    clearInterval(this.#touching);
    this.#touch();
  }

  #localManifest(repository: GrantedRepository, reference: Reference): ManifestEntry | undefined {
    return reference.kind === 'digest'
      ? this.#local.manifestByDigest(repository, reference.digest)
      : this.#local.manifestByTag(repository, reference.tag);
  }

  async #open(digest: Digest, answer: BlobAnswer): Promise<BlobFound | undefined> {
    if (answer.kind !== 'stored' && answer.kind !== 'fill') return answer;
    if (answer.kind === 'stored') {
      const file = await this.#files.open(digest);
      return file && this.#hit(digest, file);
    }
    const follow = this.#follows.join(answer.fill, () => this.#openWindow(digest));
    const window = await follow.window;
    // Committed since the answer; or else the disk took it back, and the body comes past it.
    const stored = window === undefined ? await this.#files.open(digest) : undefined;
    if (stored !== undefined) {
      await follow.letGo();
      return this.#hit(digest, stored);
    }
    const result = answer.fill.state.kind === 'detached' ? 'bypass' : answer.joined ? 'collapsed' : 'miss';
    return { kind: 'blob', body: new FollowedBody(follow, window, this.#keeper), result };
  }

  async #openWindow(digest: Digest): Promise<SharedWindow | undefined> {
    const file = await this.#files.openPartial(digest);
    return file && new SharedWindow(file, this.#buffers);
  }

  #hit(digest: Digest, stored: OpenFile | Uint8Array): BlobFound {
    this.#used.add(blobKey(digest));
    const body =
      stored instanceof Uint8Array ? new MemoryBody(stored) : new StoredBody(stored, this.#buffers);
    return { kind: 'blob', body, result: 'hit' };
  }

  #touch(): void {
    if (this.#used.size === 0) return;
    this.#keeper.touch([...this.#used]);
    this.#used.clear();
  }
}

function withoutAsker({ upstream, name }: RepositoryRef): { repository: RepositoryRef } {
  return { repository: { upstream, name } };
}

/** The repository goes alone: what is kept of a question, and by which it is known, holds nothing of who asked. */
function asked({ upstream, name, asker }: GrantedRepository): { repository: RepositoryRef; asker: Asker } {
  return { repository: { upstream, name }, asker };
}
