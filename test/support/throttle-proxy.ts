import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { TokenBucket } from './token-bucket.ts';

export interface ThrottleProxyOptions {
  readonly to: { readonly host: string; readonly port: number };
  readonly port?: number;
  /** Of each direction, shared by all connections. */
  readonly bytesPerSecond?: number;
  /** Added to each direction: a round trip takes twice as long. */
  readonly latencyMs?: number;
}

export interface ThrottleProxy extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** For a plain HTTP server behind it. */
  readonly url: string;
  bytesPerSecond: number;
  latencyMs: number;
  /** From the clients to the server. */
  readonly bytesUp: number;
  /** From the server to the clients. */
  readonly bytesDown: number;
  readonly connections: number;
  /** The line is cut: connections break, new ones are refused. */
  stop(): Promise<void>;
  /** The line is back, on the same port. */
  start(): Promise<void>;
}

/** A plain TCP proxy that makes a wide area network of the loopback interface. */
export async function startThrottleProxy(options: ThrottleProxyOptions): Promise<ThrottleProxy> {
  const rate = options.bytesPerSecond ?? Infinity;
  const line = { latencyMs: options.latencyMs ?? 0, up: lane(rate), down: lane(rate) };
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    connections += 1;
    const upstream = connect({
      host: options.to.host,
      port: options.to.port,
      allowHalfOpen: true,
      noDelay: true,
    });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      // Whoever reads the socket sees its errors; there may be nobody reading any more.
      socket.on('error', () => undefined);
    }
    void carry(client, upstream, line.up, () => line.latencyMs);
    void carry(upstream, client, line.down, () => line.latencyMs);
  });
  let port = options.port ?? 0;
  async function start(): Promise<void> {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
  }
  async function stop(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  }
  await start();
  return {
    host: '127.0.0.1',
    port,
    url: `http://127.0.0.1:${port}`,
    get bytesPerSecond() {
      return line.down.bucket.bytesPerSecond;
    },
    set bytesPerSecond(value) {
      line.up.bucket.bytesPerSecond = value;
      line.down.bucket.bytesPerSecond = value;
    },
    get latencyMs() {
      return line.latencyMs;
    },
    set latencyMs(value) {
      line.latencyMs = value;
    },
    get bytesUp() {
      return line.up.bytes;
    },
    get bytesDown() {
      return line.down.bytes;
    },
    get connections() {
      return connections;
    },
    start,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

interface Lane {
  readonly bucket: TokenBucket;
  bytes: number;
}

function lane(bytesPerSecond: number): Lane {
  return { bucket: new TokenBucket(bytesPerSecond), bytes: 0 };
}

/** Under way at most, of one connection in one direction: a reader that does not read stops its writer, as TCP does. */
const MAX_IN_FLIGHT = 4 * 1024 * 1024;

async function carry(from: Socket, to: Socket, lane: Lane, latencyMs: () => number): Promise<void> {
  // Bytes leave in order, each after its own delay, while later ones are already under way.
  let arrival: Promise<unknown> = Promise.resolve();
  let inFlight = 0;
  const deliver = (chunk: Buffer, dueMs: number): void => {
    inFlight += chunk.byteLength;
    arrival = arrive(arrival, chunk, dueMs);
  };
  const arrive = async (before: Promise<unknown>, chunk: Buffer, dueMs: number): Promise<void> => {
    await before;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await delay(waitMs);
    if (!to.destroyed && !to.write(chunk)) await drained(to);
    lane.bytes += chunk.byteLength;
    inFlight -= chunk.byteLength;
  };
  let reset = false;
  try {
    // The end of one direction is not the end of the other: the iterator must not destroy the socket.
    for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      await lane.bucket.pass(chunk, (slice) => deliver(slice, performance.now() + latencyMs()));
      if (inFlight > MAX_IN_FLIGHT) await arrival;
      if (to.destroyed) break;
    }
  } catch {
    reset = true;
  }
  await arrival;
  // A connection that broke on one side breaks on the other; one that ended, ends.
  if (reset) to.resetAndDestroy();
  else to.end();
}

async function drained(socket: Socket): Promise<void> {
  const done = new AbortController();
  const { signal } = done;
  await Promise.race([once(socket, 'drain', { signal }), once(socket, 'close', { signal })]).catch(
    () => undefined,
  );
  done.abort();
}
