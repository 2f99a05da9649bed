import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { bytes } from '../../src/lib/brand.ts';
import { PushProxy } from '../../src/server/pushing/push-proxy.ts';
import { eventually } from '../support/eventually.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { serve, type Script } from '../upstream/scripted-server.ts';

interface Sending {
  readonly clock: FakeClock;
  readonly request: IncomingMessage;
  readonly received: () => number;
  readonly sent: ReturnType<PushProxy['send']>;
}

/** A client that has begun a body of 1000 bytes with three, and a proxy that passes it on. */
async function sending(t: Test, script: Script): Promise<Sending> {
  const upstream = await serve(t, script);
  const agent = new Agent();
  t.teardown(() => agent.destroy());
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
  client.write('PATCH /x HTTP/1.1\r\nHost: e\r\nContent-Length: 1000\r\n\r\nabc');
  const [request, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse];
  const clock = new FakeClock();
  let received = 0;
  const sent = new PushProxy({ clock, minRate: () => bytes(8 * 1024) }).send(request, response, {
    target: {
      name: 'central',
      url: new URL(upstream.url),
      sessionKey: new Uint8Array(),
      agent,
      challenges: () => [],
    },
    path: '/v2/app/blobs/uploads/1',
    headers: { host: upstream.host, 'content-length': '1000' },
    received: (bytes) => (received += bytes),
  });
  return { clock, request, received: () => received, sent };
}

void t.test('a body that trickles is given up with 408, and its upstream let go', async (t) => {
  const closed = Promise.withResolvers<void>();
  const { clock, received, sent } = await sending(t, (request) => {
    request.resume().once('close', () => closed.resolve());
  });
  await eventually(() => received() === 3);
  const refused = t.rejects(sent, { name: 'RegistryError', status: 408 });
  await clock.advance(30_000);
  await refused;
  await closed.promise;
  t.equal(clock.sleeping, 0);
});

void t.test('an early answer is passed on, and the upstream is not sent the rest', async (t) => {
  const closed = Promise.withResolvers<void>();
  const { clock, request, sent } = await sending(t, (request, response) => {
    request.socket.once('close', () => closed.resolve());
    response.writeHead(401).end('no');
  });
  const reply = await sent;
  t.equal(reply.status, 401);
  t.equal((await reply.body.toArray()).join(''), 'no');
  await closed.promise;
  t.notOk(request.complete);
  t.equal(clock.sleeping, 0, 'nobody watches the body any more');
});
