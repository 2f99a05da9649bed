import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import t from 'tap';
import { MiB } from '../../src/lib/brand.ts';
import { startEdge, type Edge } from '../support/edge.ts';
import { RandomBytes } from '../support/images/blob.ts';
import { tempFolder } from '../support/temp.ts';

/** `PUSHED_MIB=2048` for the figure that the documentation gives. */
const SIZE = Number(process.env['PUSHED_MIB'] ?? 200) * MiB;
const CHUNK = 8 * MiB;
/** So many that every worker has had some. */
const WARM = 8;
/** Sockets, and garbage until it is collected. */
const MAY_GROW_BYTES = 80_000_000;

/** Takes an upload as a registry does, and keeps nothing but its hash. */
async function sink(): Promise<{
  url: string;
  received: () => { bytes: number; sha256: string };
  stop: () => Promise<void>;
}> {
  const hash = createHash('sha256');
  let bytes = 0;
  const server = createServer((message, response) => {
    message.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.byteLength;
    });
    message.once('end', () => {
      const location = '/v2/app/blobs/uploads/1?_state=s';
      response.writeHead(message.method === 'PUT' ? 201 : 202, { location, range: `0-${bytes - 1}` }).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received: () => ({ bytes, sha256: hash.copy().digest('hex') }),
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function patch(url: string, body: AsyncIterable<Buffer>): Promise<IncomingMessage> {
  // Without a length: in chunks, as docker and skopeo do.
  const outgoing = request(url, { method: 'PATCH', agent: false });
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  const [[response]] = await Promise.all([answered, pipeline(Readable.from(body), outgoing)]);
  response.resume();
  return response;
}

/** The most that each process of the edge has held so far, beyond what it held at first. */
class Watch {
  readonly #edge: Edge;
  readonly #first: Map<number, number>;
  grown = 0;

  private constructor(edge: Edge, first: Map<number, number>) {
    this.#edge = edge;
    this.#first = first;
  }

  static async over(edge: Edge): Promise<Watch> {
    return new Watch(edge, await edge.rssOf());
  }

  async look(): Promise<void> {
    for (const [pid, bytes] of await this.#edge.rssOf())
      this.grown = Math.max(this.grown, bytes - (this.#first.get(pid) ?? 0));
  }
}

for (const workers of [1, 2]) {
  void t.test(`a large push costs no memory in any process, workers: ${workers}`, async (t) => {
    const upstream = await sink();
    t.teardown(() => upstream.stop());
    const edge = await startEdge({
      workers,
      dir: tempFolder(t),
      config: { upstreams: [{ name: 'central', url: upstream.url, push: true }], log: { level: 'warn' } },
      readyWithinMs: 60_000,
    });
    t.teardown(() => edge.remove());
    const url = `${edge.http}/v2/app/blobs/uploads/1?_state=s`;
    const random = new RandomBytes('push');
    const sent = createHash('sha256');
    async function* body(size: number, look?: () => Promise<void>): AsyncGenerator<Buffer> {
      for (let at = 0; at < size; at += MiB) {
        const piece = random.take(Math.min(MiB, size - at));
        sent.update(piece);
        yield piece;
        if (at % (16 * MiB) === 0) await look?.();
      }
    }
    // What the first pushes load and allocate is not what is measured.
    for (let warm = 0; warm < WARM; warm++) t.equal((await patch(url, body(CHUNK))).statusCode, 202);
    const watch = await Watch.over(edge);
    // One long stream, then the same again in chunks of their own.
    t.equal(
      (
        await patch(
          url,
          body(SIZE / 2, () => watch.look()),
        )
      ).statusCode,
      202,
    );
    for (let at = 0; at < SIZE / 2; at += CHUNK) {
      t.equal((await patch(url, body(Math.min(CHUNK, SIZE / 2 - at)))).statusCode, 202);
      await watch.look();
    }
    t.same(upstream.received(), { bytes: SIZE + WARM * CHUNK, sha256: sent.digest('hex') });
    t.comment(`${SIZE / MiB} MiB pushed, grown by ${Math.round(watch.grown / 1e6)} MB`);
    t.ok(watch.grown < MAY_GROW_BYTES, `grown by ${watch.grown} bytes`);
  });
}

void t.test('an upstream that does not read holds the client up, and no bytes', async (t) => {
  const gate = Promise.withResolvers<void>();
  let seen = 0;
  const server = createServer((message, response) => {
    const read = (): void => {
      message.on('data', (chunk: Buffer) => (seen += chunk.byteLength));
      message.once('end', () => response.writeHead(202, { location: '/v2/app/blobs/uploads/1' }).end());
    };
    void gate.promise.then(read);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const upstream = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const edge = await startEdge({
    config: { upstreams: [{ name: 'central', url: upstream, push: true }] },
    readyWithinMs: 60_000,
  });
  t.teardown(() => edge.remove());
  const watch = await Watch.over(edge);
  const random = new RandomBytes('held up');
  let produced = 0;
  async function* body(): AsyncGenerator<Buffer> {
    for (; produced < 100 * MiB; produced += MiB) {
      // The sockets on both ways hold some MiB; a client that can hand over much more than that is not held up.
      if (produced === 40 * MiB) gate.resolve();
      yield random.take(MiB);
    }
  }
  const answer = patch(`${edge.http}/v2/app/blobs/uploads/1`, body());
  // Until nothing moves any more: each look costs more than a piece takes when there is room.
  let before = -1;
  while (before !== produced) {
    before = produced;
    for (let look = 0; look < 5; look++) await watch.look();
  }
  t.ok(produced < 40 * MiB, `held up after ${produced / MiB} MiB`);
  t.equal(seen, 0);
  gate.resolve();
  t.equal((await answer).statusCode, 202);
  t.equal(seen, 100 * MiB);
  t.ok(watch.grown < MAY_GROW_BYTES, `grown by ${watch.grown} bytes`);
});
