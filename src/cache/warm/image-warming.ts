import type { Semaphore } from '../../lib/semaphore.ts';
import type { Digest } from '../../oci/digest.ts';
import { imageText, type ImageReference } from '../../oci/image-reference.ts';
import { choiceText, joined, type Platform, type PlatformChoice } from '../../oci/platform.ts';
import type { Reference } from '../../oci/reference.ts';
import { blobKey } from '../../store/blob-index.ts';
import type { ManifestAnswer } from '../keeper.ts';
import type { ManifestEntry } from '../manifests/manifest-store.ts';
import type { Pins } from '../pins/pins.ts';
import { keysOf, walkImage, type ImageParts } from './image-walk.ts';
import { persist, type PersistParts } from './persist.ts';
import { platformsHere, type Shelf } from './platforms-here.ts';
import type { BlobOutcome, WarmEvent, WarmJob, WarmedImage } from './warm-job.ts';
import { WarmSession, type BlobEnd, type WarmSessionParts } from './warm-session.ts';

export interface ImageWarmingParts extends WarmSessionParts, PersistParts {
  readonly pins: Pins;
  readonly shelf: Shelf;
  /** What this host would pull. */
  readonly host: Platform;
  /** Shared by all that is being warmed. */
  readonly transfers: Semaphore;
  readonly blobEnded: (outcome: BlobOutcome) => void;
}

/** One image of a job on its way: its manifests, then its blobs, then its pin. */
export class ImageWarming {
  readonly #parts: ImageWarmingParts;
  readonly #image: ImageReference;
  readonly #name: string;
  readonly #job: WarmJob;
  readonly #tell: (event: WarmEvent) => void;
  readonly #signal: AbortSignal;
  readonly #session: WarmSession;
  readonly #counts = { fetchedBlobs: 0, fetchedBytes: 0, cachedBlobs: 0 };
  readonly #problems: string[] = [];
  #temporary = false;
  #stopped = false;

  constructor(
    parts: ImageWarmingParts,
    image: ImageReference,
    job: WarmJob,
    tell: (event: WarmEvent) => void,
    signal: AbortSignal,
  ) {
    this.#parts = parts;
    this.#image = image;
    this.#name = imageText(image);
    this.#job = job;
    this.#tell = tell;
    this.#signal = signal;
    this.#session = new WarmSession(parts);
  }

  async run(): Promise<WarmedImage> {
    try {
      return await this.#warm();
    } finally {
      this.#session.close();
    }
  }

  async #warm(): Promise<WarmedImage> {
    if (this.#signal.aborted) return this.#ended('stopped', undefined, '');
    const root = await this.#manifest(this.#image.reference);
    if (root.kind !== 'manifest') {
      this.#problems.push(whyNot(root));
      this.#temporary = root.kind === 'unavailable';
      return this.#ended('failed', undefined, '');
    }
    const { pins } = this.#parts;
    const pin = await pins.find(this.#image);
    const choice = await this.#choose(root, pin?.platforms);
    const platforms = choiceText(choice);
    const parts = await walkImage(root, choice, (digest) => this.#child(digest));
    this.#problems.push(...parts.problems);
    this.#stopped = this.#signal.aborted;
    this.#tell({ kind: 'image', image: this.#name, platforms, blobs: parts.blobs.length });
    const pinned = this.#job.pin || pin !== undefined;
    // Or the end of a large image would push out its beginning. Until the pin itself protects it.
    const letGo = pinned ? pins.hold(keysOf(parts)) : undefined;
    try {
      await this.#fetchAll(parts);
      if (this.#stopped) return this.#ended('stopped', root.digest, platforms);
      if (this.#problems.length > 0) return this.#ended('failed', root.digest, platforms);
      // A tag that is pinned already takes its pin along: what it was pinned to goes free now that this is whole.
      if (pinned)
        await pins.put({
          image: this.#image,
          digest: root.digest,
          manifests: parts.manifests,
          platforms: choice,
        });
      const outcome = root.result === 'stale' ? 'stale' : 'complete';
      return { ...this.#ended(outcome, root.digest, platforms), pinned };
    } finally {
      letGo?.();
    }
  }

  #ended(outcome: WarmedImage['outcome'], digest: Digest | undefined, platforms: string): WarmedImage {
    return {
      image: this.#name,
      outcome,
      digest,
      platforms,
      ...this.#counts,
      pinned: false,
      problems: this.#problems,
      temporary: this.#temporary || outcome === 'stale' || outcome === 'stopped',
    };
  }

  /** A tag is asked for until the upstream has had its say; what is known of it otherwise is the last resort. */
  async #manifest(reference: Reference): Promise<ManifestAnswer> {
    return await persist(
      this.#parts,
      this.#signal,
      () => this.#session.manifest({ repository: this.#image.repository, reference }),
      (answer) => {
        if (answer.kind === 'unavailable') return answer.reason;
        return answer.kind === 'manifest' && answer.result === 'stale'
          ? 'the upstream has not answered yet'
          : undefined;
      },
      (problem, inMs) => this.#tell({ kind: 'retry', image: this.#name, what: 'manifest', problem, inMs }),
    );
  }

  async #child(digest: Digest): Promise<ManifestEntry | string> {
    if (this.#signal.aborted) return 'stopped';
    const answer = await this.#manifest({ kind: 'digest', digest });
    if (answer.kind === 'manifest') return answer;
    this.#temporary ||= answer.kind === 'unavailable';
    return whyNot(answer);
  }

  /** What a pinned tag is pinned for comes along: its pin could not follow otherwise. */
  async #choose(root: ManifestEntry, pinned: PlatformChoice | undefined): Promise<PlatformChoice> {
    const { host, shelf } = this.#parts;
    const { platforms, pin } = this.#job;
    const here = platforms === undefined && pin ? await platformsHere(shelf, root) : [];
    const chosen = platforms ?? (here.length > 0 ? here : [host]);
    return pinned === undefined ? chosen : joined(chosen, pinned);
  }

  async #fetchAll(parts: ImageParts): Promise<void> {
    await Promise.all(parts.blobs.map(async (digest) => this.#count(digest, await this.#blob(digest))));
    const keys = keysOf(parts);
    this.#session.touch(keys);
    const { index } = this.#parts;
    // Before the index is read, nothing is evicted.
    const gone = index.loaded ? keys.filter((key) => !index.has(key)).length : 0;
    if (gone > 0 && !this.#stopped && this.#problems.length === 0)
      this.#problems.push(
        `${gone} of ${keys.length} objects were evicted again: storage.maxSize is too small`,
      );
  }

  async #blob(digest: Digest): Promise<BlobEnd> {
    // What is here waits for nobody.
    const here = this.#parts.index.has(blobKey(digest));
    const release = here ? undefined : await this.#parts.transfers.acquire();
    try {
      if (this.#signal.aborted) return { outcome: 'stopped' };
      return await persist(
        this.#parts,
        this.#signal,
        () =>
          this.#session.blob(this.#image.repository, digest, ({ size, available }) =>
            this.#tell({ kind: 'progress', image: this.#name, digest, size, received: available }),
          ),
        (end) => (end.outcome === 'temporary' ? end.problem : undefined),
        (problem, inMs) => this.#tell({ kind: 'retry', image: this.#name, what: digest, problem, inMs }),
      );
    } finally {
      release?.();
    }
  }

  #count(digest: Digest, end: BlobEnd): void {
    const about = { kind: 'blob', image: this.#name, digest } as const;
    switch (end.outcome) {
      case 'stopped':
        this.#stopped = true;
        return;
      case 'cached':
        this.#counts.cachedBlobs += 1;
        break;
      case 'fetched':
        this.#counts.fetchedBlobs += 1;
        this.#counts.fetchedBytes += end.size;
        break;
      case 'failed':
      case 'temporary':
        this.#temporary ||= end.outcome === 'temporary';
        this.#problems.push(`${digest}: ${end.problem}`);
        this.#parts.blobEnded('failed');
        return this.#tell({ ...about, outcome: 'failed', size: 0, problem: end.problem });
    }
    this.#parts.blobEnded(end.outcome);
    this.#tell({ ...about, outcome: end.outcome, size: end.size });
  }
}

function whyNot(answer: Exclude<ManifestAnswer, { kind: 'manifest' }>): string {
  if (answer.kind === 'limited') return 'too much is under way';
  return answer.kind === 'unknown' || answer.kind === 'unauthorized'
    ? 'the upstream has no such manifest, or does not show it to this edge'
    : answer.reason;
}
