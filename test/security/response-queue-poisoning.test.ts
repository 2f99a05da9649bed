import t from 'tap';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';
import { rawServe } from '../upstream/scripted-server.ts';

// One worker, so that one pool of connections sees all of it.
const start = async (url: string): ReturnType<typeof startEdge> => {
  const edge = await startEdge({
    workers: 1,
    config: { upstreams: [{ name: 'central', url, push: true, default: true }] },
  });
  t.teardown(() => edge.remove());
  return edge;
};

void t.test('a spare answer to a push is not the answer to the next one (CVE-2026-48931)', async (t) => {
  let poisoned = 0;
  const url = await rawServe(t, (socket, request) => {
    const answer = (session: string): string =>
      `HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nlocation: /v2/app/blobs/uploads/${session}\r\n\r\n`;
    // With the answer, and behind it, when the connection is idle and kept.
    socket.write(answer(`own${request}`) + (request % 3 === 1 ? answer('poison') : ''));
    if (request % 3 === 2) setImmediate(() => socket.write(answer('poison'), () => (poisoned += 1)));
  });
  const edge = await start(url);
  for (let request = 1; request <= 12; request += 1) {
    const { status, headers } = await get(`${edge.http}/v2/app/blobs/uploads/`, { method: 'POST' });
    t.equal(status, 202);
    t.equal(headers.location, `/v2/app/blobs/uploads/own${request}`);
    if (request % 3 === 2) await eventually(() => poisoned === (request + 1) / 3);
  }
});

void t.test('nor is one to a pull', async (t) => {
  const image = createImage({ layers: [3000] });
  const { bytes, mediaType, digest } = image.manifest;
  const answer = (body: Buffer, type: string): string =>
    `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n${body.toString('latin1')}`;
  const poison = answer(Buffer.from('poison'), 'application/octet-stream');
  const url = await rawServe(t, (socket) => {
    socket.write(answer(bytes, mediaType) + poison, 'latin1');
  });
  const edge = await start(url);
  for (const tag of ['a', 'b', 'c', digest]) {
    const { status, body } = await get(`${edge.http}/v2/app/manifests/${tag}`, { keepBody: true });
    t.equal(status, 200, tag);
    t.equal(body.compare(bytes), 0);
  }
});
