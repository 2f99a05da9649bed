import { seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { completes, hasherFor } from '../../oci/digest.ts';
import type { OpenedBody } from './blob-source.ts';
import type { Fill } from './fill.ts';

/** Small chunks are joined, since each one is a message between processes. */
const CHUNK_BYTES = 512 * 1024;
const RESUMES = 5;

/**
 * A blob, or its rest, for one reader, past a disk that refuses: straight from the source, hashed on from where the
 * partial file ended. The last piece is given only when the digest of the whole is right.
 */
export class Bypass {
  readonly #chunks: AsyncGenerator<Uint8Array>;
  readonly #abort = new AbortController();

  constructor(fill: Fill, restOnly: boolean, clock: Clock, received: (bytes: number) => void) {
    this.#chunks = read(fill, restOnly, this.#abort.signal, clock, received);
  }

  /** The next bytes; undefined after the last. @throws when the source fails for good or the digest is wrong. */
  async read(): Promise<Uint8Array | undefined> {
    const next = await this.#chunks.next();
    return next.done === true ? undefined : next.value;
  }

  close(): void {
    this.#abort.abort();
    void this.#chunks.return(undefined).catch(() => undefined);
  }
}

async function* read(
  fill: Fill,
  restOnly: boolean,
  signal: AbortSignal,
  clock: Clock,
  received: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const { state, size } = fill.progress;
  const hash = restOnly ? fill.hashAtDetach() : hasherFor(fill.digest);
  if (state.kind !== 'detached' || hash === undefined) throw new Error('the fill is not detached');
  let held: Uint8Array | undefined;
  for await (const chunk of resumedChunks(fill, restOnly ? state.at : 0, size, signal, clock)) {
    received(chunk.byteLength);
    hash.update(chunk);
    if (held !== undefined) yield held;
    held = chunk;
  }
  if (!completes(hash, fill.digest)) throw new Error('the body has another digest');
  if (held !== undefined) yield held;
}

async function* resumedChunks(
  fill: Fill,
  from: number,
  size: number,
  signal: AbortSignal,
  clock: Clock,
): AsyncGenerator<Uint8Array> {
  let position = from;
  for (let resumes = 0; position < size; resumes += 1) {
    try {
      const opened = await fill.source.open(position, fill.etag, signal);
      for await (const chunk of joined(opened, position, size)) {
        position += chunk.byteLength;
        yield chunk;
      }
      if (position < size) throw new Error('the body ended early');
    } catch (error) {
      if (signal.aborted || resumes >= RESUMES) throw error;
      await clock.sleep(seconds(1), signal);
    }
  }
}

async function* joined(opened: OpenedBody, position: number, size: number): AsyncGenerator<Uint8Array> {
  if (opened.size !== size) throw new Error('the upstream changed the size of the blob');
  let skip = position - opened.first;
  let pieces: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of opened.body as AsyncIterable<Uint8Array>) {
      const fresh = skip > 0 ? chunk.subarray(skip) : chunk;
      skip -= chunk.byteLength - fresh.byteLength;
      pieces.push(fresh);
      length += fresh.byteLength;
      if (length < CHUNK_BYTES) continue;
      yield Buffer.concat(pieces, length);
      pieces = [];
      length = 0;
    }
    if (length > 0) yield Buffer.concat(pieces, length);
  } finally {
    opened.body.destroy();
  }
}
