import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { bodyTooSlow, letBodyEnd } from '../../src/server/pushing/body-pace.ts';
import { bytes } from '../../src/lib/brand.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';

const WINDOW_MS = 30_000;
const LEAST = 8 * 1024 * 30;

interface Upload {
  readonly request: IncomingMessage;
  readonly client: Socket;
  /** Resolves when the server's socket has seen so many bytes more. */
  readonly send: (bytes: number) => Promise<void>;
}

/** A request whose body is under way. */
async function upload(t: Test): Promise<Upload> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => undefined);
  t.teardown(async () => {
    client.destroy();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  client.write('PUT / HTTP/1.1\r\nHost: e\r\nContent-Length: 10000000\r\n\r\n');
  const [request] = (await once(server, 'request')) as [IncomingMessage];
  request.on('error', () => undefined);
  const send = async (bytes: number): Promise<void> => {
    const target = request.socket.bytesRead + bytes;
    client.write(Buffer.alloc(bytes));
    await eventually(() => request.socket.bytesRead >= target);
  };
  return { request, client, send };
}

function watched(request: IncomingMessage, clock: FakeClock, over = new AbortController()): () => boolean {
  let slow = false;
  void bodyTooSlow(request, { clock, minRate: () => bytes(8 * 1024) }, over.signal).then(() => (slow = true));
  return () => slow;
}

void t.test(
  'a body that keeps its pace may take as long as it likes, one that trickles may not',
  async (t) => {
    const { request, send } = await upload(t);
    request.resume();
    const clock = new FakeClock();
    const slow = watched(request, clock);
    for (let window = 0; window < 5; window++) {
      await send(LEAST);
      await clock.advance(WINDOW_MS);
      t.notOk(slow());
    }
    await send(LEAST - 1);
    await clock.advance(WINDOW_MS - 1);
    t.notOk(slow(), 'not before its time');
    await clock.advance(1);
    t.ok(slow());
  },
);

void t.test('a pause that the upstream makes is not held against the client', async (t) => {
  const { request } = await upload(t);
  request.resume();
  const clock = new FakeClock();
  const slow = watched(request, clock);
  request.pause();
  await clock.advance(WINDOW_MS);
  request.resume();
  await clock.advance(WINDOW_MS - 1);
  request.pause();
  request.resume();
  await clock.advance(1);
  t.notOk(slow());
  await clock.advance(WINDOW_MS);
  t.ok(slow(), 'the first window without a pause');
});

void t.test('what is over is not watched', async (t) => {
  const { request } = await upload(t);
  const clock = new FakeClock();
  const over = new AbortController();
  const slow = watched(request, clock, over);
  over.abort();
  await clock.advance(10 * WINDOW_MS);
  t.notOk(slow());
  t.equal(clock.sleeping, 0);
  t.equal(request.listenerCount('pause'), 0);
});

void t.test('a body that nobody wants is read for five seconds, then the connection ends', async (t) => {
  const { request, client, send } = await upload(t);
  const clock = new FakeClock();
  const ended = once(client, 'end');
  client.resume();
  const done = letBodyEnd(request, clock);
  await send(300_000);
  await clock.advance(4999);
  t.notOk(request.socket.destroyed);
  await clock.advance(1);
  await done;
  await ended;
});

void t.test('a body that ends by itself leaves the connection as it is', async (t) => {
  const { request, client } = await upload(t);
  const clock = new FakeClock();
  const done = letBodyEnd(request, clock);
  client.write(Buffer.alloc(10_000_000));
  await done;
  t.ok(request.complete);
  t.notOk(request.socket.destroyed);
  await letBodyEnd(request, clock);
});
