import type { Options } from './options.ts';
import { WarmSite } from './warm-site.ts';

/** What several scenarios share, started when the first of them asks for it. */
export class Stage implements AsyncDisposable {
  readonly #options: Options;
  readonly #progress: (step: string) => void;
  #warm: Promise<WarmSite> | undefined;

  constructor(options: Options, progress: (step: string) => void) {
    this.#options = options;
    this.#progress = progress;
  }

  warm(): Promise<WarmSite> {
    this.#warm ??= WarmSite.start(this.#options, this.#progress);
    return this.#warm;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // One that never came up was reported by the scenario that asked for it.
    const site = await this.#warm?.catch(() => undefined);
    await site?.[Symbol.asyncDispose]();
  }
}
