import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { inspect } from 'node:util';
import t, { type Test } from 'tap';
import { ms } from '../../../src/lib/brand.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { freePort } from '../../support/free-port.ts';
import { missing } from '../../support/parts.ts';
import { startRedis } from '../../support/redis.ts';
import { openRedis, standalone } from './fixture.ts';

const skip = missing('redis-server');
const KEY = 'sha256:abc central/team/app';

/** A TCP peer that answers as `answer` says, until the test ends. */
async function peer(t: Test, answer: (chunk: Buffer, socket: Socket) => void): Promise<{ port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    socket.on('data', (chunk) => answer(chunk, socket)).on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return { port: (server.address() as AddressInfo).port };
}

void t.test('nothing there: every call fails at once, and is heard of once', async (t) => {
  const { connection, store, told } = openRedis(t, standalone({ port: await freePort() }));
  await eventually(() => connection.lastError !== undefined);
  await t.rejects(store.get('tags', KEY), {
    name: 'RedisError',
    kind: 'unavailable',
    message: 'Redis cannot be reached (ECONNREFUSED)',
  });
  for (let at = 0; at < 100; at += 1) await store.put('tags', KEY, Buffer.from('-')).catch(() => undefined);
  t.equal(told.failed.length, 101);
  t.strictSame(told.available, [[false, 'Redis cannot be reached (ECONNREFUSED)']]);
});

void t.test('killed and back: it is asked again by itself', { skip }, async (t) => {
  await using redis = await startRedis();
  const { connection, store, told, ready } = openRedis(t, standalone(redis));
  await ready();
  await store.put('links', KEY, Buffer.from('-'));
  await redis.kill();
  await eventually(() => !connection.available);
  await t.rejects(store.get('links', KEY), { name: 'RedisError', kind: 'unavailable' });
  await redis.start();
  await ready();
  t.equal(await store.get('links', KEY), undefined, 'it came back empty');
  await store.put('links', KEY, Buffer.from('-'));
  t.ok(await store.get('links', KEY));
  t.strictSame(
    told.available.map(([available]) => available),
    [true, false, true],
  );
});

void t.test(
  'stopped: the calls under way wait for the timeout, the next ones for nothing',
  { skip },
  async (t) => {
    await using redis = await startRedis();
    const clock = new FakeClock();
    const timeout = ms(100);
    const { connection, store, told } = openRedis(t, standalone(redis), { clock, timeout });
    await eventually(() => connection.available);
    await store.put('links', KEY, Buffer.from('-'));
    redis.pause();
    const outcomes: string[] = [];
    for (let at = 0; at < 10; at += 1)
      store.get('links', KEY).catch((error: Error) => outcomes.push(error.message));
    await clock.advance(99);
    t.strictSame(outcomes, [], 'not a moment too early');
    await clock.advance(1);
    await eventually(() => outcomes.length === 10);
    t.equal(outcomes[0], 'Redis did not answer in 100 ms');
    for (let at = 0; at < 100; at += 1)
      await t.rejects(store.get('links', KEY), { name: 'RedisError', kind: 'unavailable' });
    t.equal(told.failed.filter(([, kind]) => kind === 'timeout').length, 10, 'nobody waited any more');
    t.strictSame(told.available.at(-1), [false, 'Redis did not answer in 100 ms']);

    redis.resume();
    await eventually(async () => {
      await clock.advance(1000);
      return connection.available;
    });
    t.ok(await store.get('links', KEY));
  },
);

void t.test('an answer that is here but not yet read is no timeout', { skip }, async (t) => {
  await using redis = await startRedis();
  const { connection, store } = openRedis(t, standalone(redis), { timeout: ms(20) });
  await eventually(() => connection.available);
  // This process is busy where the next thing that the event loop looks at are timers, and only then sockets.
  const asked = new Promise((resolve) => {
    setImmediate(() => {
      resolve(store.get('links', KEY));
      for (const until = performance.now() + 60; performance.now() < until;);
    });
  });
  t.equal(await asked, undefined);
  t.ok(connection.available);
});

void t.test('a peer that speaks something else, or nothing', async (t) => {
  const garbage: [name: string, answer: (chunk: Buffer, socket: Socket) => void][] = [
    ['nothing', () => undefined],
    ['HTTP', (_, socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['noise', (_, socket) => socket.write(Buffer.from([0, 255, 13, 10, 42, 45, 49, 13, 10]))],
    ['a bulk without end', (_, socket) => socket.write('$999999999\r\nabc')],
    ['FIN', (_, socket) => socket.end()],
    ['RST', (_, socket) => socket.resetAndDestroy()],
  ];
  for (const [name, answer] of garbage) {
    await t.test(name, async (t) => {
      let connections = 0;
      const { store, connection } = openRedis(
        t,
        standalone(
          await peer(t, (chunk, socket) => {
            connections += 1;
            answer(chunk, socket);
          }),
        ),
        { timeout: ms(100) },
      );
      await eventually(() => connections > 1);
      await t.rejects(store.get('links', KEY), { name: 'RedisError' });
      t.notOk(connection.available);
    });
  }
});

void t.test('a peer that greets like Redis and lies afterwards', async (t) => {
  const lies: [name: string, reply: string][] = [
    ['another type', ':5\r\n'],
    ['a list', '*2\r\n$1\r\na\r\n$1\r\nb\r\n'],
    ['a null', '$-1\r\n'],
    ['a text', '+OK\r\n'],
    ['made up', `$64\r\n${'\u0001'.repeat(64)}\r\n`],
  ];
  for (const [name, reply] of lies) {
    await t.test(name, async (t) => {
      const { port } = await peer(t, (chunk, socket) => {
        for (const word of chunk.toString('latin1').match(/info|getrange/gi) ?? [])
          socket.write(word.toLowerCase() === 'info' ? '$7\r\nloading\r\n' : reply);
      });
      const { store, told, ready } = openRedis(t, standalone({ port }));
      await ready();
      t.equal(await store.get('links', KEY), undefined);
      t.strictSame(told.corrupt, ['links']);
    });
  }
});

void t.test('an answer without end is given up with its connection', async (t) => {
  let ended = 0;
  const { port } = await peer(t, (chunk, socket) => {
    if (/info/i.test(chunk.toString('latin1'))) socket.write('$7\r\nloading\r\n');
    if (!/getrange/i.test(chunk.toString('latin1'))) return;
    socket.write('$999999999\r\n');
    socket.on('close', () => (ended += 1));
  });
  const { store, ready, connection } = openRedis(t, standalone({ port }), { timeout: ms(100) });
  await ready();
  await t.rejects(store.get('links', KEY), { message: 'Redis did not answer in 100 ms' });
  await eventually(() => ended === 1);
  t.notOk(connection.available);
});

void t.test('full and read-only: told as such, and reading goes on', { skip }, async (t) => {
  await using redis = await startRedis();
  await using other = await startRedis();
  const { store, told, ready, connection } = openRedis(t, standalone(redis));
  await ready();
  await store.put('links', KEY, Buffer.from('here'));
  await redis.command('CONFIG', 'SET', 'maxmemory', 1);
  await t.rejects(store.put('links', 'b', Buffer.from('-')), { kind: 'full', message: /maxmemory/ });
  t.equal(Buffer.from((await store.get('links', KEY)) ?? '').toString(), 'here');
  await redis.command('CONFIG', 'SET', 'maxmemory', 0);
  await redis.command('REPLICAOF', other.host, other.port);
  await t.rejects(store.put('links', 'b', Buffer.from('-')), { kind: 'unavailable', message: /read-only/ });
  t.ok(connection.available, 'whoever answers does not stand still');
  t.strictSame(
    told.failed.map(([operation, kind]) => [operation, kind]),
    [
      ['put', 'full'],
      ['put', 'readonly'],
    ],
  );
});

void t.test(
  'an ACL user over TLS: what it may not do is said, and no secret is in any message',
  { skip },
  async (t) => {
    const canary = 'canary-password';
    await using redis = await startRedis({
      password: 'root',
      tls: true,
      acl: [`user edge on >${canary} ~mine:* -@all +ping +info +getrange +set +del`],
    });
    const ca = await readFile(redis.caFile ?? '', 'utf8');
    const target = { ...standalone(redis), tls: { ca }, username: 'edge', password: canary };
    const mine = openRedis(t, target, { prefix: 'mine:' });
    await mine.ready();
    await mine.store.put('links', KEY, Buffer.from('-'));
    t.ok(await mine.store.get('links', KEY));
    await mine.store.delete('links', KEY);

    const others = openRedis(t, target, { prefix: 'theirs:' });
    await others.ready();
    await t.rejects(others.store.get('links', KEY), {
      message: 'the Redis user may not do this: mend its ACL',
    });
    const wrong: [target: typeof target, message: string][] = [
      [{ ...target, password: `${canary}-wrong` }, 'Redis refuses redis.username and redis.password'],
      [{ ...target, username: `${canary}-user` }, 'Redis refuses redis.username and redis.password'],
      [{ ...target, tls: { ca: '' } }, 'Redis cannot be reached (DEPTH_ZERO_SELF_SIGNED_CERT)'],
    ];
    for (const [target, message] of wrong) {
      const { connection, store, told } = openRedis(t, target);
      await eventually(() => connection.lastError?.message === message, {
        what: () => `${message}; it is ${connection.lastError?.message}`,
      });
      await t.rejects(store.get('links', KEY), { name: 'RedisError', kind: 'unavailable' });
      t.notMatch(JSON.stringify(told), canary);
    }
  },
);

void t.test('what Redis repeats of a command is in no message', async (t) => {
  const canary = 'canary-password';
  const { port } = await peer(t, (_, socket) =>
    socket.write(`-ERR unknown command 'AUTH', with args beginning with: 'edge' '${canary}'\r\n`),
  );
  const target = { ...standalone({ port }), username: 'edge', password: canary };
  const { connection, store, told } = openRedis(t, target);
  await eventually(() => connection.lastError !== undefined);
  const error: unknown = await store.get('links', KEY).catch((error: unknown) => error);
  t.match(error, { message: 'Redis answered ERR' });
  t.notMatch(inspect([error, connection.lastError, told], { depth: null, showHidden: true }), canary);
});
