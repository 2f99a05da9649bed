import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { MiB } from '../../../src/lib/brand.ts';
import { TokenBucket } from '../token-bucket.ts';
import type { Shape } from './shape.ts';

/** Large enough that a chunk's overhead does not show, small enough that a run-time change of the rate does. */
const CHUNK = MiB;

export interface SendOptions {
  readonly head: boolean;
  /** Shared by all answers. */
  readonly bucket: TokenBucket;
  /** Called with the number of body bytes after each that went to the socket. */
  readonly onSent: (bytes: number) => void;
}

/** Sends an answer. Returns true when it went out to the end, as the shape has it. */
export async function send(response: ServerResponse, shape: Shape, options: SendOptions): Promise<boolean> {
  const { bucket, head } = options;
  const bodyBytes = shape.end - shape.start + shape.extraBytes;
  if (shape.stall !== undefined && shape.stall.afterBytes === undefined)
    await silence(response, shape.stall.until);
  if (shape.cut !== undefined && shape.cut.afterBytes === undefined) return hangUp(response, shape.cut.by);
  if (response.destroyed) return false;

  for (const [name, value] of Object.entries(shape.headers)) {
    if (value !== undefined) response.setHeader(name, value);
  }
  if (!shape.chunked && shape.status !== 304) response.setHeader('content-length', bodyBytes);
  response.writeHead(shape.status);
  response.flushHeaders();
  if (head) {
    response.end();
    return true;
  }
  const close = bucket.open();
  try {
    const out = new Out(response, shape, options);
    const { stall, cut } = shape;
    const turns = [stall, cut].filter((turn) => turn !== undefined);
    for (const turn of turns.sort((a, b) => (a.afterBytes ?? 0) - (b.afterBytes ?? 0))) {
      const { afterBytes = 0 } = turn;
      if (afterBytes > bodyBytes) continue;
      await out.sendUpTo(afterBytes);
      if (turn === cut) return await out.cut(cut.by);
      if (turn === stall) await silence(response, stall.until);
    }
    await out.sendUpTo(bodyBytes);
    if (response.destroyed) return false;
    response.end();
    return true;
  } finally {
    close();
  }
}

class Out {
  readonly #response: ServerResponse;
  readonly #shape: Shape;
  readonly #options: SendOptions;
  readonly #bucket: TokenBucket;
  #sent = 0;

  constructor(response: ServerResponse, shape: Shape, options: SendOptions) {
    this.#response = response;
    this.#shape = shape;
    this.#options = options;
    this.#bucket = new TokenBucket(shape.bytesPerSecond);
    this.#bucket.open();
  }

  async sendUpTo(end: number): Promise<void> {
    const { bucket, onSent } = this.#options;
    while (this.#sent < end && !this.#response.destroyed) {
      const length = Math.min(end - this.#sent, CHUNK, bucket.sliceBytes, this.#bucket.sliceBytes);
      const chunk = await this.#chunk(this.#sent, length);
      await bucket.take(chunk.byteLength);
      await this.#bucket.take(chunk.byteLength);
      if (this.#response.destroyed) return;
      this.#sent += chunk.byteLength;
      onSent(chunk.byteLength);
      if (!this.#response.write(chunk)) await drained(this.#response);
    }
  }

  async cut(by: 'fin' | 'rst'): Promise<false> {
    // What was written must have left before the connection ends: node holds small writes back for a turn.
    await turn();
    const { socket } = this.#response;
    if (socket !== null && socket.writableLength > 0) await drained(this.#response);
    return hangUp(this.#response, by);
  }

  /** `length` bytes, or fewer, of the body from `offset` on. */
  async #chunk(offset: number, length: number): Promise<Buffer> {
    const { start, end, content, corruptAt } = this.#shape;
    const from = start + offset;
    if (content === undefined || from >= end) return Buffer.alloc(length, 'x');
    const to = Math.min(from + length, end);
    const chunk = await content.read(from, to);
    if (corruptAt === undefined || corruptAt < from || corruptAt >= to) return chunk;
    const copy = Buffer.from(chunk);
    copy.writeUInt8(copy.readUInt8(corruptAt - from) ^ 1, corruptAt - from);
    return copy;
  }
}

function hangUp(response: ServerResponse, by: 'fin' | 'rst'): false {
  if (by === 'rst') response.socket?.resetAndDestroy();
  else response.socket?.destroySoon();
  return false;
}

async function silence(response: ServerResponse, until: Promise<unknown> | undefined): Promise<void> {
  if (response.destroyed) return;
  await untilClosedOr(response, async (signal) => {
    await (until ?? once(response, 'close', { signal }));
  });
}

async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed) return;
  await untilClosedOr(response, (signal) => once(response, 'drain', { signal }));
}

async function untilClosedOr(
  response: ServerResponse,
  wait: (signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  const waits = [wait(signal), once(response, 'close', { signal })];
  // The one that loses is aborted, and nobody waits for it any more.
  await Promise.race(waits.map((promise) => promise.catch(() => undefined)));
  over.abort();
}
