import type { AskedAs } from '../verdicts/asked-as.ts';
import { SourceError, type BlobSource, type OpenedBody } from './blob-source.ts';

/** Of the callers of one fill; more than these are not needed to go on with it. */
const MAX_CALLERS = 16;

/** None of those who asked for it got the blob. */
export class AllRefused extends SourceError {
  constructor() {
    super('unknown', 'the upstream does not show the blob to any who asked for it');
  }
}

/**
 * One blob of one repository for all who joined its fill, each by what they show: what came last is tried first, since it is
 * good for longest, and a no to one of them is not the end for the others.
 */
export class CallerSources implements BlobSource {
  readonly #sources = new Map<string, BlobSource>();
  readonly #refusals = new Map<string, SourceError>();

  join(as: AskedAs, source: BlobSource): void {
    this.#sources.delete(as.key);
    this.#refusals.delete(as.key);
    this.#sources.set(as.key, source);
    const [oldest] = this.#sources.keys();
    if (this.#sources.size <= MAX_CALLERS || oldest === undefined) return;
    this.#sources.delete(oldest);
    this.#refusals.delete(oldest);
  }

  /** What the upstream said no to this asker with, whoever got the blob; undefined when it did not. */
  refusalTo(as: AskedAs): SourceError | undefined {
    return this.#refusals.get(as.key);
  }

  open(offset: number, etag: string | undefined, signal: AbortSignal): Promise<OpenedBody> {
    return this.#firstOf((source) => source.open(offset, etag, signal));
  }

  size(signal?: AbortSignal): Promise<number> {
    return this.#firstOf((source) => source.size(signal));
  }

  async #firstOf<T>(ask: (source: BlobSource) => Promise<T>): Promise<T> {
    const tried = new Set<string>();
    for (;;) {
      // Looked up anew: somebody may have joined meanwhile.
      const [key, source] = [...this.#sources].findLast(([key]) => !tried.has(key)) ?? [];
      if (key === undefined || source === undefined) throw new AllRefused();
      try {
        return await ask(source);
      } catch (error) {
        if (!(error instanceof SourceError) || error.kind !== 'unknown') throw error;
        tried.add(key);
        if (this.#sources.has(key)) this.#refusals.set(key, error);
      }
    }
  }
}
