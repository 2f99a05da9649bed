import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { ListenerNetworks } from '../../../src/access/listener-networks.ts';
import { DEFAULT_ACCESS } from '../../../src/config/defaults.ts';
import { bytes } from '../../../src/lib/brand.ts';
import type { Connection } from '../../../src/server/connections/connection.ts';
import { Connections } from '../../../src/server/connections/connections.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** Accepts on a real port; who the clients are is the test's word. */
async function accepting(
  t: Test,
  limits: { connections?: number; connectionsPerAddress?: number; minRate?: number },
) {
  const clock = new FakeClock();
  const told: string[] = [];
  const connections = new Connections({
    limits: {
      connections: 100,
      connectionsPerAddress: 100,
      ...limits,
      minRate: bytes(limits.minRate ?? 8192),
    },
    clock,
    refused: (client, reason) => told.push(`${client} refused: ${reason}`),
    closed: (reason) => told.push(`closed: ${reason}`),
  });
  const http = new ListenerNetworks('http', DEFAULT_ACCESS);
  const https = new ListenerNetworks('https', DEFAULT_ACCESS);
  const server: Server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const clients: Socket[] = [];
  t.teardown(async () => {
    for (const client of clients) client.destroy();
    connections.destroy(http);
    connections.destroy(https);
    await new Promise((resolve) => server.close(resolve));
  });
  const open = async (address: string | undefined, networks = http): Promise<Connection | undefined> => {
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    client.on('error', () => undefined);
    clients.push(client);
    const [socket] = await accepted;
    const connection = connections.open(socket, '127.0.0.1', networks, address);
    if (connection === undefined) t.ok(socket.destroyed, 'a refused one is closed');
    return connection;
  };
  const opened = async (address: string, networks = http): Promise<Connection> => {
    const connection = await open(address, networks);
    if (connection === undefined) throw new Error('refused');
    return connection;
  };
  return { connections, clock, told, http, https, open, opened, clients };
}

const isOpen = ({ socket }: Connection): boolean => !socket.destroyed;

void t.test('who has been idle the longest makes room first, then who never asked', async (t) => {
  const { connections, told, opened, open } = await accepting(t, { connections: 4 });
  const [busy, second, first, unasked] = [
    await opened('10.0.0.1'),
    await opened('10.0.0.2'),
    await opened('10.0.0.3'),
    await opened('10.0.0.4'),
  ];
  for (const connection of [busy, first, second]) connections.began(connection);
  for (const connection of [first, second]) connections.ended(connection);
  const others: Connection[] = [];
  const isNext = async (given: Connection, reason: string): Promise<void> => {
    others.push(await opened('10.0.0.5'));
    t.notOk(isOpen(given));
    t.equal(told.at(-1), `closed: ${reason}`);
    t.equal(connections.sizeOf(busy.networks), 4);
    connections.began(others.at(-1) ?? busy);
  };
  await isNext(first, 'idle');
  await isNext(second, 'idle');
  await isNext(unasked, 'unasked');
  t.ok([busy, ...others].every(isOpen));
  t.equal(await open('10.0.0.6'), undefined, 'all have a request under way');
  t.equal(told.at(-1), '10.0.0.6 refused: listener');
  connections.ended(busy);
  await opened('10.0.0.6');
  t.notOk(isOpen(busy));
});

void t.test('an address at its limit makes room among its own', async (t) => {
  const { connections, told, opened, open } = await accepting(t, {
    connections: 4,
    connectionsPerAddress: 2,
  });
  const other = await opened('10.0.0.2');
  connections.began(other);
  connections.ended(other);
  const own = [await opened('10.0.0.1'), await opened('10.0.0.1')];
  for (const connection of own) connections.began(connection);
  t.equal(await open('10.0.0.1'), undefined);
  t.equal(told.at(-1), '10.0.0.1 refused: address');
  t.ok([other, ...own].every(isOpen));
  for (const connection of own) connections.ended(connection);
  const third = await opened('10.0.0.1');
  t.same([...own, third, other].map(isOpen), [false, true, true, true]);
});

void t.test('the addresses of one IPv6 /64 are one, mapped IPv4 addresses are not', async (t) => {
  const { connections, opened, open } = await accepting(t, { connectionsPerAddress: 2 });
  for (const address of ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff'])
    connections.began(await opened(address));
  t.equal(await open('2001:db8:1:2:8000::'), undefined);
  connections.began(await opened('2001:db8:1:3::1'));
  for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3']) connections.began(await opened(address));
});

void t.test('limits count each listener for itself, and each address once', async (t) => {
  const { connections, opened, open, http, https } = await accepting(t, {
    connections: 2,
    connectionsPerAddress: 3,
  });
  const [one] = [await opened('10.0.0.1', http), await opened('10.0.0.1', http)];
  connections.began(one);
  const third = await opened('10.0.0.1', https);
  for (const connection of [third]) connections.began(connection);
  t.same([connections.sizeOf(http), connections.sizeOf(https)], [2, 1]);
  const fourth = await opened('10.0.0.1', https);
  connections.began(fourth);
  t.same([connections.sizeOf(http), connections.sizeOf(https)], [1, 2], 'one on http made room');
  t.equal(await open('10.0.0.1', https), undefined);
});

void t.test('an announced client counts, its proxy does not', async (t) => {
  const { connections, told, open } = await accepting(t, { connectionsPerAddress: 1 });
  const waiting = [await open(undefined), await open(undefined), await open(undefined)];
  const [first, second, third] = waiting;
  if (first === undefined || second === undefined || third === undefined) throw new Error('refused');
  t.ok(connections.announce(first, '10.0.0.1'));
  connections.began(first);
  t.ok(connections.announce(second, '10.0.0.2'));
  t.notOk(connections.announce(third, '10.0.0.1'));
  t.same(told, ['10.0.0.1 refused: address']);
  t.notOk(isOpen(third));
  connections.destroy(second.networks);
  await eventually(() => connections.sizeOf(second.networks) === 0);
  t.notOk(connections.announce(second, '10.0.0.2'), 'one that is gone takes no place');
  t.ok(await open('10.0.0.2'));
});

void t.test('nothing is left of connections that are closed, whoever closed them', async (t) => {
  const { connections, opened, clients, http, clock } = await accepting(t, { connectionsPerAddress: 5 });
  for (let round = 0; round < 4; round++) {
    for (let n = 0; n < 5; n++) {
      const connection = await opened('10.0.0.1');
      connection.socket.resume();
      connections.began(connection);
      if (n % 2 === 0) connections.ended(connection);
      connection.socket.on('end', () => connection.socket.end());
    }
    for (const client of clients.splice(0)) client.end();
    await eventually(() => connections.sizeOf(http) === 0);
  }
  await clock.advance(1000);
  t.equal(clock.sleeping, 0, 'and nobody is watched');
});

void t.test('lower limits hold for those who come', async (t) => {
  const { connections, opened, open, http } = await accepting(t, {});
  for (let n = 0; n < 5; n++) connections.began(await opened('10.0.0.1'));
  connections.change({ connections: 3, connectionsPerAddress: 3, minRate: bytes(0) });
  t.equal(connections.sizeOf(http), 5);
  t.equal(await open('10.0.0.2'), undefined);
});

const MB = 1_000_000;
/** More than a loopback socket's buffers hold. */
const MUCH = 30 * MB;

void t.test('who stops reading is cut after 30 s', async (t) => {
  const { connections, clock, told, opened } = await accepting(t, {});
  const connection = await opened('10.0.0.1');
  connections.began(connection);
  connection.socket.write(Buffer.alloc(MUCH));
  await eventually(() => connection.socket.bytesWritten >= MUCH);
  // What the kernel had room for counts as read.
  await clock.advance(29_000);
  t.ok(isOpen(connection));
  await clock.advance(1000);
  t.notOk(isOpen(connection));
  t.same(told, ['closed: slow']);
  await clock.advance(1000);
  t.equal(clock.sleeping, 0);
});

void t.test('who has read all that there is may wait as long as it likes', async (t) => {
  const { connections, clock, opened, clients } = await accepting(t, {});
  const connection = await opened('10.0.0.1');
  clients[0]?.resume();
  connections.began(connection);
  for (let round = 0; round < 5; round++) {
    // As from a slow upstream.
    await new Promise<void>((resolve) => connection.socket.write(Buffer.alloc(100), () => resolve()));
    await clock.advance(60_000);
  }
  t.ok(isOpen(connection));
});

void t.test('who reads fast enough is not cut, however long it takes', async (t) => {
  const { connections, clock, opened, clients } = await accepting(t, {});
  const connection = await opened('10.0.0.1');
  const [client] = clients;
  if (client === undefined) throw new Error('no client');
  connections.began(connection);
  let [read, written] = [0, 0];
  client.pause();
  client.on('data', (chunk: Buffer) => (read += chunk.length));
  for (let round = 0; round < 4; round++) {
    written += MUCH;
    connection.socket.write(Buffer.alloc(MUCH));
    await clock.advance(29_000);
    client.resume();
    await eventually(() => read === written);
    client.pause();
    await clock.advance(1000);
    t.ok(isOpen(connection));
  }
});

void t.test('a rate of 0 asks for none; a new one holds for who is connected', async (t) => {
  const { connections, clock, opened } = await accepting(t, { minRate: 0 });
  const connection = await opened('10.0.0.1');
  connections.began(connection);
  connection.socket.write(Buffer.alloc(MUCH));
  await clock.advance(600_000);
  t.ok(isOpen(connection));
  connections.change({ connections: 9, connectionsPerAddress: 9, minRate: bytes(1) });
  await clock.advance(30_000);
  t.notOk(isOpen(connection));
});
