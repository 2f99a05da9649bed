import { LRUCache } from 'lru-cache';
import type { FillProgress, KeeperEvent } from '../keeper.ts';
import type { SharedWindow } from './shared-window.ts';

/** One running fill as this worker sees it, shared by all its readers here. Ends with the last of them. */
export class Follow {
  /** On the partial file; undefined when that could not be opened. */
  readonly window: Promise<SharedWindow | undefined>;
  #progress: FillProgress;
  #change = Promise.withResolvers<void>();
  #readers = 0;
  readonly #unused: () => void;

  constructor(progress: FillProgress, window: Promise<SharedWindow | undefined>, unused: () => void) {
    this.#progress = progress;
    this.window = window;
    this.#unused = unused;
  }

  get progress(): FillProgress {
    return this.#progress;
  }

  /** Resolves at the next change after the call. */
  changed(): Promise<void> {
    return this.#change.promise;
  }

  update(progress: FillProgress): void {
    this.#progress = progress;
    const change = this.#change;
    this.#change = Promise.withResolvers<void>();
    change.resolve();
  }

  hold(): void {
    this.#readers += 1;
  }

  /** The last reader closes the file. */
  async letGo(): Promise<void> {
    this.#readers -= 1;
    if (this.#readers > 0) return;
    this.#unused();
    await (await this.window)?.close();
  }
}

/** The fills that this worker follows, kept up to date by the keeper's events. */
export class Follows {
  readonly #followed = new Map<number, Follow>();
  /** An event may overtake the answer that it follows: the askers of that answer join a moment later. */
  readonly #heard = new LRUCache<number, FillProgress>({ max: 1000 });

  /** One more reader of a fill; it lets go at its end. `progress` is the keeper's answer. */
  join(progress: FillProgress, openWindow: () => Promise<SharedWindow | undefined>): Follow {
    const { fillId } = progress;
    let follow = this.#followed.get(fillId);
    if (follow === undefined) {
      const latest = newer(this.#heard.get(fillId), progress);
      follow = new Follow(latest, openWindow(), () => this.#followed.delete(fillId));
      this.#followed.set(fillId, follow);
    }
    follow.hold();
    return follow;
  }

  on(event: KeeperEvent): void {
    if (event.kind !== 'fill') return;
    const { fillId } = event.progress;
    this.#heard.set(fillId, event.progress);
    this.#followed.get(fillId)?.update(event.progress);
  }
}

/** Fills only go on, and end once. */
function newer(heard: FillProgress | undefined, answered: FillProgress): FillProgress {
  if (heard === undefined || answered.state.kind !== 'running') return answered;
  return heard.state.kind !== 'running' || heard.available > answered.available ? heard : answered;
}
