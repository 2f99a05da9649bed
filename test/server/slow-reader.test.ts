import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import { get } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { serveImage, warm } from './fixture.ts';

const MB = 1_000_000;
const SIZE = 50 * MB;
const served = await serveImage([SIZE], { workers: 2 });
await warm(served);
const { edge, central, image } = served;
const path = `/v2/library/app/blobs/${image.layers[0]?.digest}`;

/** Open blob files of all processes of the edge. */
async function openBlobs(): Promise<number> {
  const links = [...(await edge.rssOf()).keys()].map(async (pid) => {
    const folder = `/proc/${pid}/fd`;
    // A descriptor may be closed between the listing and the reading.
    const names = await readdir(folder);
    return await Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(() => '')));
  });
  return (await Promise.all(links)).flat().filter((link) => link.includes('/blobs/')).length;
}

/** A client that asks `count` times and reads nothing but the first bytes. */
async function stalledClient(count = 1): Promise<Socket> {
  const { hostname, port } = new URL(edge.http);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: edge\r\n\r\n`.repeat(count));
  await once(socket, 'readable');
  socket.read(1);
  return socket;
}

async function rss(): Promise<number> {
  return [...(await edge.rssOf()).values()].reduce((sum, bytes) => sum + bytes, 0);
}

void t.test('fifty clients that stop reading hold neither memory nor anybody up', async (t) => {
  await get(edge.http + path);
  const before = await rss();
  const clients = await Promise.all(Array.from({ length: 50 }, () => stalledClient()));
  // A whole blob for somebody else: whatever would pile up for the stalled has had its turns by then.
  for (let round = 0; round < 3; round++) {
    const answer = await get(edge.http + path);
    t.equal(`sha256:${answer.sha256}`, image.layers[0]?.digest);
  }
  t.equal(await openBlobs(), 50);
  const grown = (await rss()) - before;
  t.comment(`grown by ${Math.round(grown / MB)} MB`);
  // The budget of the buffers is 48 MiB a worker, and no more than 64 KiB each beyond it; the blob fifty times over would be 2,500 MB.
  t.ok(grown < 150 * MB, `grown by ${grown} bytes`);
  for (const client of clients) client.destroy();
  await eventually(async () => (await openBlobs()) === 0, { what: 'the blob is closed' });
  await eventually(
    async () => (await edge.metrics()).value('pierhead_broken_answers_total', { by: 'client' }) === 50,
  );
});

void t.test(
  'a client that sends many requests at once holds one blob open, and none when it is gone',
  async (t) => {
    const client = await stalledClient(100);
    t.equal((await get(edge.http + path)).bytes, SIZE);
    t.equal(await openBlobs(), 1);
    client.destroy();
    await eventually(async () => (await openBlobs()) === 0, { what: 'nothing is left open' });
    t.equal((await get(edge.http + path)).bytes, SIZE);
    t.equal(await openBlobs(), 0);
    t.same(central.log, []);
  },
);
