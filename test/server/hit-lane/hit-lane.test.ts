import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import { get } from '../../support/clients.ts';
import { eventually } from '../../support/eventually.ts';
import { serveImage, warm } from '../fixture.ts';
import { exchange, type RawAnswer } from '../raw.ts';

const served = await serveImage([300_000]);
await warm(served);
const { edge, central, image } = served;
const [config] = image.blobs;
if (config === undefined) throw new Error('an image has a config');

const MANIFEST = '/v2/library/app/manifests/latest';
const BY_DIGEST = `/v2/library/app/manifests/${image.digest}`;
const CONFIG = `/v2/library/app/blobs/${config.digest}`;
const LAYER = `/v2/library/app/blobs/${image.layers[0]?.digest}`;
const ask = (target: string, ...headers: string[]): string =>
  [`GET ${target} HTTP/1.1`, 'Host: edge', ...headers, '', ''].join('\r\n');
/** No header that the lane takes: Node's server answers. */
const PAST = 'X-Past-The-Lane: 1';

/** Without what is another's in each answer. */
function told({ status, headers, raw }: RawAnswer): unknown {
  const { 'x-request-id': id, date, ...others } = headers;
  t.ok(id);
  t.match(date, / GMT$/);
  return { status, headers: others, raw: raw.toString('latin1') };
}

void t.test('what comes through the lane is what the server would have answered', async (t) => {
  for (const target of [MANIFEST, BY_DIGEST, CONFIG]) {
    for (const method of ['GET', 'HEAD']) {
      for (const headers of [
        [],
        ['If-None-Match: "other"'],
        [`If-None-Match: W/"${image.digest}", "${config.digest}"`],
        ['Connection: close'],
      ]) {
        const text = ask(target, ...headers).replace('GET', method);
        const options = {
          answers: 1,
          head: method === 'HEAD' || headers.some((one) => one.includes(image.digest)),
        };
        const [lane] = (await exchange(edge.http, text, options)).answers;
        const [server] = (await exchange(edge.http, text.replace('Host', `${PAST}\r\nHost`), options))
          .answers;
        if (lane === undefined || server === undefined) throw new Error(`no answer to ${text}`);
        t.same(told(lane), told(server), text);
        t.equal(lane.headers['cache-status'], 'pierhead; hit');
      }
    }
  }
  t.equal(central.log.length, 0, 'all of it were hits');
});

void t.test('a connection goes from the lane to the server at any request, and loses nothing', async (t) => {
  const wanted = [
    ask(MANIFEST),
    ask(CONFIG),
    ask('/v2/'),
    ask(MANIFEST),
    ask(LAYER),
    ask(CONFIG, 'Connection: close'),
  ];
  for (const connection of [
    connect(Number(new URL(edge.http).port)),
    connectTls({ port: Number(new URL(edge.https).port), rejectUnauthorized: false }),
  ]) {
    const answers: string[] = [];
    for (const text of wanted) answers.push(await oneByOne(connection, text));
    t.same(
      answers.map((answer) => answer.slice(9, 12)),
      wanted.map(() => '200'),
    );
    t.ok(answers[4]?.includes(`docker-content-digest: ${image.layers[0]?.digest}`));
    await once(connection, 'close');
  }
});

void t.test('requests that come in pieces, or many at once, are answered in their order', async (t) => {
  const socket = connect(Number(new URL(edge.http).port));
  t.teardown(() => socket.destroy());
  await oneByOne(socket, ask(MANIFEST));
  const text = ask(CONFIG);
  socket.write(text.slice(0, 20));
  t.match(await oneByOne(socket, text.slice(20)), new RegExp(config.digest));
  const { answers } = await exchange(edge.http, ask(MANIFEST) + ask(CONFIG) + ask(MANIFEST), { answers: 3 });
  t.same(
    answers.map(({ headers }) => headers['docker-content-digest']),
    [image.digest, config.digest, image.digest],
  );
});

void t.test('a connection that says nothing, or half a request, is timed by the server', async (t) => {
  const ends = await Promise.all(['', 'GET /v2/'].map((start) => exchange(edge.http, start)));
  for (const { answers, closedByServer } of ends) {
    t.ok(closedByServer);
    t.equal(answers[0]?.status ?? 408, 408);
  }
});

void t.test('a hit is counted, wherever it was answered', async (t) => {
  const labels = { route: 'manifest', status: '200', cache: 'hit' };
  const before = (await edge.metrics()).value('pierhead_requests_total', labels);
  const saved = (await edge.metrics()).value('pierhead_saved_bytes_total', { upstream: 'central' });
  await exchange(edge.http, ask(MANIFEST), { answers: 1 });
  await exchange(edge.http, ask(MANIFEST, PAST), { answers: 1 });
  const after = await edge.metrics();
  t.equal(after.value('pierhead_requests_total', labels), before + 2);
  t.equal(
    after.value('pierhead_saved_bytes_total', { upstream: 'central' }),
    saved + 2 * image.manifest.size,
  );
  const logged = await eventually(() => {
    const lines = edge.logs().filter((line) => line['msg'] === 'request' && line['route'] === 'manifest');
    return lines.length > 1 ? lines.slice(-2) : undefined;
  });
  for (const line of logged)
    t.match(line, {
      method: 'GET',
      status: 200,
      repository: 'library/app',
      reference: 'latest',
      cache: 'hit',
      address: '127.0.0.1',
    });
});

void t.test('idle connections do not hold up the end of an edge', async (t) => {
  const other = await serveImage([5000]);
  await warm(other);
  const sockets = Array.from({ length: 5 }, () => connect(Number(new URL(other.edge.http).port)));
  for (const socket of sockets) await oneByOne(socket, ask(MANIFEST));
  const ended = Promise.all(sockets.map((socket) => once(socket, 'close')));
  await other.edge.stop();
  await ended;
  t.ok(sockets.every((socket) => socket.destroyed));
});

void t.test('what is not at hand goes to the keeper as ever', async (t) => {
  const other = await serveImage([5000]);
  const { answers } = await exchange(other.edge.http, ask(MANIFEST), { answers: 1 });
  t.match(answers[0]?.headers['cache-status'], /fwd=uri-miss/);
  await get(`${other.edge.http}${MANIFEST}`);
  const [again] = (await exchange(other.edge.http, ask(MANIFEST), { answers: 1 })).answers;
  t.equal(again?.headers['cache-status'], 'pierhead; hit');
});

/** One answer, headers and body, as text. */
async function oneByOne(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  let received = '';
  for (;;) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    received += chunk.toString('latin1');
    const end = received.indexOf('\r\n\r\n');
    const length = Number(/^content-length: (\d+)/im.exec(received)?.[1] ?? 0);
    if (end !== -1 && received.length >= end + 4 + length) return received;
  }
}
