import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import t from 'tap';
import { get } from '../../support/clients.ts';
import { eventually } from '../../support/eventually.ts';
import { v1, v2 } from '../../support/proxy-header.ts';
import { reconfigure, serveImage, warm } from '../fixture.ts';

/** The proxies' own address; clients that come without one are at 127.0.0.1. */
const PROXY = '127.0.0.7';
const CLIENT = '192.0.2.55';

const served = await serveImage(
  [200_000],
  { workers: 2, config: { audit: { to: 'audit.log' } } },
  {
    allow: ['127.0.0.0/8', '192.0.2.0/24', '2001:db8::/32'],
    deny: ['192.0.2.66'],
    trustedProxies: [PROXY],
    proxyProtocol: true,
  },
);
const { edge, image } = served;
await warm(served);
const layer = image.layers[0];
const REQUEST = `GET /v2/library/app/blobs/${layer?.digest} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n`;

async function open(url: string, localAddress = PROXY): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), localAddress });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** All that comes until the end. */
async function bytesOf(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (!socket.closed) await once(socket, 'close').catch(() => undefined);
  return Buffer.concat(chunks);
}

/** Sends the pieces one by one, each when the one before is on its way. */
async function exchange(url: string, pieces: readonly Buffer[], localAddress?: string): Promise<Buffer> {
  const socket = await open(url, localAddress);
  socket.setNoDelay(true);
  for (const piece of pieces) await new Promise<void>((resolve) => socket.write(piece, () => resolve()));
  return await bytesOf(socket);
}

const bodyOf = (answer: Buffer): Buffer => answer.subarray(answer.indexOf('\r\n\r\n') + 4);
const addresses = (): unknown[] =>
  edge
    .logs()
    .filter(({ msg }) => msg === 'request')
    .map(({ address }) => address);
const refused = async (reason: string): Promise<number> =>
  (await edge.metrics()).value('pierhead_refused_connections_total', { reason });

void t.test('both versions on a plain listener, in one piece or byte by byte', async (t) => {
  const request = Buffer.from(REQUEST);
  for (const header of [
    v1(CLIENT),
    v2({ source: CLIENT }),
    v2({ source: CLIENT, tlvs: Buffer.alloc(500) }),
  ]) {
    const bytewise = [...header, ...request].map((byte) => Buffer.from([byte]));
    for (const pieces of [[Buffer.concat([header, request])], [header, request], bytewise]) {
      const before = addresses().length;
      const answer = await exchange(edge.http, pieces);
      t.match(answer.toString('latin1', 0, 15), 'HTTP/1.1 200 OK');
      t.equal(bodyOf(answer).compare(layer?.bytes ?? Buffer.alloc(0)), 0);
      await eventually(() => addresses().length > before);
      t.equal(addresses().at(-1), CLIENT);
    }
  }
});

void t.test('both versions in front of TLS', async (t) => {
  const ca = await readFile(join(edge.dir, 'certs/ca.crt'));
  for (const header of [v1('2001:db8::5'), v2({ source: '2001:db8::5' })]) {
    for (const split of [false, true]) {
      const before = addresses().length;
      const socket = await open(edge.https);
      if (split) for (const byte of header) socket.write(Buffer.from([byte]));
      else socket.write(header);
      const secure = connectTls({ socket, ca, servername: 'localhost' });
      secure.write(REQUEST);
      const answer = await bytesOf(secure);
      t.equal(bodyOf(answer).compare(layer?.bytes ?? Buffer.alloc(0)), 0);
      await eventually(() => addresses().length > before);
      t.equal(addresses().at(-1), '2001:db8::5');
    }
  }
});

void t.test('header and ClientHello in one segment', async (t) => {
  // A TLS client writes its hello to a socket of ours, from where it goes on behind the header.
  const outside = await open(edge.https);
  const between = createServer((inside) => {
    let first = true;
    inside.on('data', (chunk) => {
      outside.write(first ? Buffer.concat([v2({ source: CLIENT }), chunk]) : chunk);
      first = false;
    });
    outside.on('data', (chunk) => inside.write(chunk));
    outside.on('end', () => inside.end());
  }).listen(0, '127.0.0.1');
  await once(between, 'listening');
  const { port } = between.address() as AddressInfo;
  const ca = await readFile(join(edge.dir, 'certs/ca.crt'));
  const secure = connectTls({ host: '127.0.0.1', port, ca, servername: 'localhost' });
  secure.write(REQUEST);
  const answer = await bytesOf(secure);
  t.equal(bodyOf(answer).compare(layer?.bytes ?? Buffer.alloc(0)), 0);
  between.close();
});

void t.test('a proxy that speaks for itself is itself', async (t) => {
  const before = addresses().length;
  const answer = await exchange(edge.http, [v2({ kind: 'local' }), Buffer.from(REQUEST)]);
  t.match(answer.toString('latin1', 0, 15), 'HTTP/1.1 200 OK');
  await eventually(() => addresses().length > before);
  t.equal(addresses().at(-1), PROXY);
});

void t.test('the lists hold for whom it announces, before a byte is answered, on record', async (t) => {
  const before = await refused('network');
  for (const source of ['192.0.2.66', '203.0.113.1', '::ffff:192.0.2.66']) {
    t.same(await exchange(edge.http, [v2({ source }), Buffer.from(REQUEST)]), Buffer.alloc(0), source);
  }
  t.same(await exchange(edge.https, [v1('192.0.2.66')]), Buffer.alloc(0));
  t.equal(await refused('network'), before + 4);
  const record = await eventually(async () => {
    const text = await readFile(join(edge.dir, 'audit.log'), 'utf8');
    return text.includes('203.0.113.1') && text;
  });
  t.match(record, '"ip":"192.0.2.66"');
});

void t.test('a trusted peer that sends no header, or none that can be read, is closed', async (t) => {
  const before = await refused('proxy');
  const socket = await open(edge.http);
  socket.end();
  t.same(await bytesOf(socket), Buffer.alloc(0), 'the end');
  for (const sent of [REQUEST, 'PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n', `PROXY UNKNOWN ${'x'.repeat(200)}`])
    t.same(await exchange(edge.http, [Buffer.from(sent)]), Buffer.alloc(0), sent);
  const silent = await open(edge.https);
  t.same(await bytesOf(silent), Buffer.alloc(0), 'silence, for five seconds');
  t.equal(await refused('proxy'), before + 5);
});

void t.test('a header from anybody else is not read', async (t) => {
  const answer = await exchange(edge.http, [Buffer.concat([v1(CLIENT), Buffer.from(REQUEST)])], '127.0.0.1');
  t.match(answer.toString('latin1', 0, 12), 'HTTP/1.1 400');
  const second = await exchange(
    edge.http,
    [Buffer.concat([v2({ source: CLIENT }), Buffer.from(REQUEST)])],
    '127.0.0.1',
  );
  t.match(second.toString('latin1', 0, 12), 'HTTP/1.1 400');
  t.equal((await get(`${edge.http}/v2/`)).status, 200, 'and without one they are served');
});

void t.test('whom nobody vouches for any more is closed at a reload', async (t) => {
  const kept = await open(edge.http);
  kept.write(Buffer.concat([v1(CLIENT), Buffer.from('GET /v2/ HTTP/1.1\r\nHost: edge\r\n\r\n')]));
  await once(kept, 'data');
  const direct = await open(edge.http, '127.0.0.1');
  direct.write('GET /v2/ HTTP/1.1\r\nHost: edge\r\n\r\n');
  await once(direct, 'data');
  await reconfigure(edge, { access: { allow: ['127.0.0.0/8', '192.0.2.0/24'] } });
  await bytesOf(kept);
  t.ok(kept.closed);
  t.notOk(direct.destroyed);
  direct.destroy();
});
