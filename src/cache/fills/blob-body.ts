import type { ReadBudget } from '../../lib/read-budget.ts';
import type { OpenFile } from '../../store/blob-files.ts';
import type { Keeper } from '../keeper.ts';
import type { Follow } from './follow.ts';
import type { Piece, SharedWindow } from './shared-window.ts';

/** A blob that can be read from any position; a committed file and a growing one look the same from outside. */
export interface BlobBody {
  readonly size: number;
  /**
   * The next bytes from `position`, at most `wanted` (but up to 64 KiB in any case); waits for at least one.
   * @throws when the bytes cannot be had: the answer must then end short.
   */
  read(position: number, wanted: number): Promise<Piece>;
  /** The reader has no more use for it: a `read` that waits for bytes rejects soon. */
  cancel(): void;
  /** Once, after the last `read` has settled: a file must not be closed under a read. */
  close(): Promise<void>;
}

/** A small blob, in memory. */
export class MemoryBody implements BlobBody {
  readonly size: number;
  readonly content: Uint8Array;

  constructor(content: Uint8Array) {
    this.content = content;
    this.size = content.byteLength;
  }

  async read(position: number): Promise<Piece> {
    return { bytes: this.content.subarray(position), release: () => undefined };
  }

  cancel(): void {}

  async close(): Promise<void> {}
}

/** A committed blob. */
export class StoredBody implements BlobBody {
  readonly size: number;
  readonly #file: OpenFile;
  readonly #buffers: ReadBudget;

  constructor(file: OpenFile, buffers: ReadBudget) {
    this.#file = file;
    this.#buffers = buffers;
    this.size = file.size;
  }

  async read(position: number, wanted: number): Promise<Piece> {
    const buffer = this.#buffers.take(wanted);
    const release = (): void => this.#buffers.giveBack(buffer);
    try {
      const count = await this.#file.read(buffer, position);
      if (count === 0) throw new Error('the blob file became shorter');
      return { bytes: buffer.subarray(0, count), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** A read of a file does not wait. */
  cancel(): void {}

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** The reader of a running fill: behind the writer in the partial file, and past the disk when that refused. */
export class FollowedBody implements BlobBody {
  readonly size: number;
  readonly #follow: Follow;
  readonly #window: SharedWindow | undefined;
  readonly #keeper: Keeper;
  readonly #cancelled = Promise.withResolvers<void>();
  #bypass: BypassReader | undefined;
  #closed = false;

  /** Takes over one hold on `follow`. `window` is absent when the disk gave no file, or took it back. */
  constructor(follow: Follow, window: SharedWindow | undefined, keeper: Keeper) {
    this.size = follow.progress.size;
    this.#follow = follow;
    this.#window = window;
    this.#keeper = keeper;
  }

  async read(position: number): Promise<Piece> {
    while (!this.#closed) {
      const { available, state, fillId } = this.#follow.progress;
      const window = this.#window;
      if (position < available && window !== undefined) return await window.read(position, available);
      if (state.kind === 'failed') throw new Error(`the fill failed: ${state.reason}`);
      if (state.kind === 'detached') {
        this.#bypass ??= await BypassReader.open(
          this.#keeper,
          fillId,
          window === undefined ? undefined : state.at,
        );
        return await this.#bypass.read(position);
      }
      await Promise.race([this.#follow.changed(), this.#cancelled.promise]);
    }
    throw new Error('nobody reads this any more');
  }

  cancel(): void {
    this.#closed = true;
    this.#cancelled.resolve();
    this.#bypass?.close();
  }

  async close(): Promise<void> {
    this.cancel();
    await this.#follow.letGo();
  }
}

/** Reads a bypass in order, and drops what lies before the wanted position. */
class BypassReader {
  readonly #keeper: Keeper;
  readonly #ticket: number;
  #chunk: Uint8Array = new Uint8Array(0);
  #chunkStart: number;

  private constructor(keeper: Keeper, ticket: number, start: number) {
    this.#keeper = keeper;
    this.#ticket = ticket;
    this.#chunkStart = start;
  }

  /** `start`: where the asker's partial file ends; undefined when it has none. */
  static async open(keeper: Keeper, fillId: number, start: number | undefined): Promise<BypassReader> {
    const ticket = await keeper.openBypass({ fillId, restOnly: start !== undefined });
    if (ticket === undefined) throw new Error('the fill is not known any more');
    return new BypassReader(keeper, ticket, start ?? 0);
  }

  async read(position: number): Promise<Piece> {
    while (position >= this.#chunkStart + this.#chunk.byteLength) {
      const chunk = await this.#keeper.readBypass(this.#ticket);
      if (chunk === undefined) throw new Error('the blob ended early');
      this.#chunkStart += this.#chunk.byteLength;
      this.#chunk = chunk;
    }
    return { bytes: this.#chunk.subarray(position - this.#chunkStart), release: () => undefined };
  }

  close(): void {
    this.#keeper.closeBypass(this.#ticket);
  }
}
