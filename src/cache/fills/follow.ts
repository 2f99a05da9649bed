import type { FillProgress, KeeperEvent } from '../keeper.ts';

/** One running fill as this worker sees it; shared by all its readers here. */
export class Follow {
  #progress: FillProgress;
  #change = Promise.withResolvers<void>();

  constructor(progress: FillProgress) {
    this.#progress = progress;
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
}

/** The fills that this worker follows, kept up to date by the keeper's events. */
export class Follows {
  readonly #running = new Map<number, Follow>();

  /** `progress` comes straight from the keeper's answer; later events of that fill are never missed. */
  join(progress: FillProgress): Follow {
    const known = this.#running.get(progress.fillId);
    if (known !== undefined) return known;
    const follow = new Follow(progress);
    if (progress.state.kind === 'running') this.#running.set(progress.fillId, follow);
    return follow;
  }

  on(event: KeeperEvent): void {
    if (event.kind !== 'fill') return;
    const { fillId, state } = event.progress;
    this.#running.get(fillId)?.update(event.progress);
    if (state.kind !== 'running') this.#running.delete(fillId);
  }
}
