import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import { get } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { serveImage, warm } from '../server/fixture.ts';

const MB = 1_000_000;
const SIZE = 20 * MB;
/** All attackers together are more than the limits of both workers let in. */
const LIMITS = { connections: 200, connectionsPerAddress: 150 };
const [DRIPPERS, FLOOD, HANDSHAKES, SLOW] = [500, 300, 100, 20];

const served = await serveImage([SIZE], { workers: 2, config: { limits: LIMITS } });
const { edge, image } = served;
await warm(served);
const [layer] = image.layers;
const path = `/v2/library/app/blobs/${layer?.digest}`;

/** Open descriptors of each process of the edge. */
async function descriptors(): Promise<number> {
  const folders = [...(await edge.rssOf()).keys()].map((pid) => readdir(`/proc/${pid}/fd`));
  return (await Promise.all(folders)).flat().length;
}

async function rss(): Promise<number> {
  return [...(await edge.rssOf()).values()].reduce((sum, bytes) => sum + bytes, 0);
}

interface Attacker {
  readonly socket: Socket;
  /** The server has ended it, or never took it. */
  isOver: boolean;
}

const attackers: Attacker[] = [];
t.teardown(() => {
  for (const { socket } of attackers) socket.destroy();
});

/** Half-open, so that it lasts for as long as the server does nothing. */
function attack(url: string, localAddress: string, reads = true): Attacker {
  const socket = connect({
    host: '127.0.0.1',
    port: Number(new URL(url).port),
    localAddress,
    allowHalfOpen: true,
  });
  const attacker: Attacker = { socket, isOver: false };
  const over = (): void => {
    attacker.isOver = true;
  };
  socket.on('error', over);
  socket.on('close', over);
  socket.on('end', over);
  if (reads) socket.resume();
  attackers.push(attacker);
  return attacker;
}

function herdOf(count: number, begin: (n: number) => Attacker): Attacker[] {
  return Array.from({ length: count }, (_, n) => begin(n));
}

const allOver = (herd: readonly Attacker[]): boolean => herd.every(({ isOver }) => isOver);
const countOver = (herd: readonly Attacker[]): string =>
  `${herd.filter(({ isOver }) => isOver).length} of ${herd.length} are over`;

void t.test(
  'drippers, a flood, stalled handshakes and slow readers, while a good client pulls',
  async (t) => {
    const baseline = { descriptors: await descriptors(), rss: await rss() };
    const done = new AbortController();
    let pulls = 0;
    const goodClient = (async (): Promise<void> => {
      while (!done.signal.aborted || pulls < 3) {
        const answer = await get(edge.http + path);
        if (answer.status !== 200 || `sha256:${answer.sha256}` !== layer?.digest)
          throw new Error(`the good client got ${answer.status}, ${answer.bytes} bytes, ${answer.error}`);
        pulls += 1;
      }
    })();
    // What is thrown before anybody waits for it must not end the process.
    goodClient.catch(() => undefined);

    const slow = herdOf(SLOW, () => {
      const attacker = attack(edge.http, '127.0.0.5', false);
      attacker.socket.write(`GET ${path} HTTP/1.1\r\nHost: edge\r\n\r\n`);
      return attacker;
    });
    await Promise.all(slow.map(({ socket }) => once(socket, 'readable')));
    const drippers = herdOf(DRIPPERS, (n) => {
      const attacker = attack(edge.http, `127.0.1.${n % 5}`);
      attacker.socket.write('GET /v2/ HTTP/1.1\r\nX-Drip: ');
      return attacker;
    });
    const drip = setInterval(() => {
      for (const { socket, isOver } of drippers) if (!isOver) socket.write('x');
    }, 500);
    t.teardown(() => clearInterval(drip));
    const flood = herdOf(FLOOD, () => attack(edge.http, '127.0.0.3'));
    const handshakes = herdOf(HANDSHAKES, (n) => {
      const attacker = attack(edge.https, '127.0.0.4');
      if (n % 2 === 0) attacker.socket.write('\x16\x03\x01\x02\0\x01\0');
      return attacker;
    });
    const quick = [...drippers, ...flood, ...handshakes];
    await eventually(() => allOver(quick), { timeoutMs: 40_000, what: () => countOver(quick) });
    const { rss: before } = baseline;
    const grown = (await rss()) - before;
    t.comment(`grown by ${Math.round(grown / MB)} MB`);
    t.ok(grown < 200 * MB, `grown by ${grown} bytes`);
    // A slow one sees the end behind what it has not read: the edge knows of it first.
    const cut = async (): Promise<boolean> =>
      (await edge.metrics()).value('pierhead_closed_connections_total', { reason: 'slow' }) === SLOW;
    await eventually(cut, { timeoutMs: 60_000, what: 'the slow are cut' });
    done.abort();
    await goodClient;
    t.ok(pulls > 0, `${pulls} pulls, all of them right`);
    await eventually(
      async () => {
        const metrics = await edge.metrics();
        const open = ['http', 'https'].map((listener) => metrics.value('pierhead_connections', { listener }));
        return open.every((count) => count === 0) && (await descriptors()) <= baseline.descriptors + 5;
      },
      { what: 'nothing is left of the attack' },
    );
    t.equal((await get(`${edge.http}/v2/`)).status, 200);
  },
);

void t.test('who holds all the connections and asks nothing keeps nobody out', async (t) => {
  const idle = herdOf(2 * LIMITS.connections, (n) => attack(edge.http, `127.0.2.${n % 10}`));
  // Every second one has asked once.
  for (const [n, { socket }] of idle.entries())
    if (n % 2 === 0) socket.write('GET /v2/ HTTP/1.1\r\nHost: edge\r\n\r\n');
  for (let round = 0; round < 20; round++)
    t.equal((await get(`${edge.http}/v2/`, { localAddress: '127.0.0.9' })).status, 200);
  for (const { socket } of idle) socket.destroy();
});

void t.test('requests that do not wait for their answers end at a hundred', async (t) => {
  const before = await rss();
  const herd = herdOf(20, () => {
    const attacker = attack(edge.http, '127.0.0.6', false);
    attacker.socket.write(`GET ${path} HTTP/1.1\r\nHost: edge\r\n\r\n`.repeat(5000));
    return attacker;
  });
  const cut = async (): Promise<boolean> =>
    (await edge.metrics()).value('pierhead_closed_connections_total', { reason: 'pipelined' }) ===
    herd.length;
  await eventually(cut, { what: 'all are cut' });
  const grown = (await rss()) - before;
  t.ok(grown < 100 * MB, `grown by ${grown} bytes`);
  for (const { socket } of herd) socket.destroy();
  t.equal((await get(edge.http + path)).bytes, SIZE);
});
