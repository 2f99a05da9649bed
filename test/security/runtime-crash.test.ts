import { once } from 'node:events';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { exchange } from '../server/raw.ts';
import { rawServe } from '../upstream/scripted-server.ts';

/** Names that every object in JavaScript has, or that look as if. */
const NAMES = [
  '__proto__',
  'constructor',
  'prototype',
  'hasOwnProperty',
  'toString',
  'valueOf',
  'then',
  '__defineGetter__',
];

const spoken = NAMES.map((name) => `${name}: x\r\n`).join('');
const upstream = await rawServe(t, (socket) => {
  socket.write(`HTTP/1.1 200 OK\r\n${spoken}content-type: application/json\r\ncontent-length: 2\r\n\r\n{}`);
});
const edge = await startEdge({
  workers: 1,
  config: { upstreams: [{ name: 'central', url: upstream, push: true, default: true, catalog: true }] },
});
t.teardown(() => edge.remove());
const { pid } = edge;

async function stillServes(t: Test): Promise<void> {
  t.equal((await get(`${edge.http}/v2/`)).status, 200);
  t.equal(edge.pid, pid);
  t.same(
    edge.logs().filter(({ level }) => level === 'fatal' || level === 'error'),
    [],
  );
}

void t.test('headers, parameters, names and hosts that are also JavaScript’s (CVE-2026-21710)', async (t) => {
  for (const name of NAMES) {
    for (const sent of [
      `GET /v2/ HTTP/1.1\r\nHost: e\r\n${name}: x\r\n${name}: y\r\n\r\n`,
      `GET /v2/ HTTP/1.1\r\nHost: ${name}\r\nConnection: ${name}\r\n\r\n`,
      `GET /v2/${name}/manifests/${name}?${name}=1 HTTP/1.1\r\nHost: e\r\n\r\n`,
      `GET /v2/app/manifests/${name}?ns=${name} HTTP/1.1\r\nHost: e\r\n\r\n`,
      `GET /v2/app/tags/list?last=${name}&n=1 HTTP/1.1\r\nHost: ${name}\r\n\r\n`,
      `GET /v2/_catalog?ns=${name} HTTP/1.1\r\nHost: e\r\n\r\n`,
      `${name} /v2/ HTTP/1.1\r\nHost: e\r\n\r\n`,
      `PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: e\r\n${name}: x\r\nContent-Type: ${name}\r\nContent-Length: 0\r\n\r\n`,
      `GET /v2/app/blobs/sha256:${'a'.repeat(64)} HTTP/1.1\r\nHost: e\r\nRange: ${name}=0-\r\nIf-None-Match: ${name}\r\n\r\n`,
    ]) {
      const { answers } = await exchange(edge.http, sent, { answers: 1 });
      t.not(answers[0]?.status, 500, sent.slice(0, 60));
    }
  }
  await stillServes(t);
});

/** A ClientHello for TLS 1.2 with these bytes for server name extensions (RFC 8446 §4.1.2, RFC 6066 §3). */
function clientHello(...extensions: Buffer[]): Buffer {
  const suites = Buffer.from([0x13, 0x01, 0xc0, 0x2b, 0xc0, 0x2f]);
  const others = Buffer.concat([
    sized(2, Buffer.from([0, 10]), Buffer.from([0, 4, 0, 29, 0, 23])),
    sized(2, Buffer.from([0, 13]), Buffer.from([0, 4, 4, 3, 8, 4])),
  ]);
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([0]),
    sized(2, Buffer.alloc(0), suites),
    Buffer.from([1, 0]),
    sized(2, Buffer.alloc(0), Buffer.concat([...extensions, others])),
  ]);
  return sized(2, Buffer.from([22, 3, 1]), sized(3, Buffer.from([1]), body));
}

/** The head, the length of the content in so many bytes, the content. */
function sized(lengthBytes: number, head: Buffer, content: Buffer, length = content.byteLength): Buffer {
  const size = Buffer.alloc(lengthBytes);
  size.writeUIntBE(length, 0, lengthBytes);
  return Buffer.concat([head, size, content]);
}

function serverName(name: Buffer | string, type = 0): Buffer {
  const entry = sized(2, Buffer.from([type]), Buffer.from(name));
  return sized(2, Buffer.from([0, 0]), sized(2, Buffer.alloc(0), entry));
}

/** The first record that comes back: 22 is a ServerHello, 21 an alert; undefined when it was closed without one. */
async function answerTo(hello: Buffer): Promise<number | undefined> {
  const socket = connect(Number(new URL(edge.https).port), '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(hello);
  socket.end();
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'close');
  return Buffer.concat(chunks)[0];
}

void t.test('names in the handshake: odd, broken, none (CVE-2026-21637, CVE-2026-48928)', async (t) => {
  const answered = [
    'LOCALHOST',
    'localhost',
    'LocalHost.',
    'a'.repeat(255),
    'ünïcode',
    '*',
    '..',
    '.',
    'a..b',
    '127.0.0.1',
    '[::1]',
    'x y',
    ...NAMES,
  ];
  for (const name of answered) {
    const type = await answerTo(clientHello(serverName(name)));
    t.ok(type === 22 || type === 21, `${name}: ${type}`);
  }
  t.equal(await answerTo(clientHello()), 22, 'none');
  t.equal(await answerTo(clientHello(serverName('LOCALHOST'))), 22);
  const broken: Record<string, Buffer> = {
    'an empty name': serverName(''),
    'a NUL': serverName('localhost\0.evil.example'),
    'bytes that are no text': serverName(Buffer.from([0xff, 0xfe, 0x80])),
    'over 255 bytes': serverName('a'.repeat(256)),
    '16 KiB': serverName('a'.repeat(15_000)),
    'another type of name': serverName('localhost', 9),
    'an empty list': sized(2, Buffer.from([0, 0]), Buffer.from([0, 0])),
    'no list': sized(2, Buffer.from([0, 0]), Buffer.alloc(0)),
    'a list that is longer than it is': sized(2, Buffer.from([0, 0]), Buffer.from([0xff, 0xff, 0, 0, 1, 97])),
  };
  for (const [what, extension] of Object.entries(broken)) {
    const type = await answerTo(clientHello(extension));
    t.ok(type === undefined || type === 21 || type === 22, what);
  }
  t.equal(await answerTo(clientHello(serverName('a'), serverName('b'))), 21, 'two');
  await stillServes(t);
});

void t.test('ALPN that nobody speaks, and half a handshake', async (t) => {
  const alpn = (...names: string[]): Buffer => {
    const list = Buffer.concat(names.map((name) => sized(1, Buffer.alloc(0), Buffer.from(name))));
    return sized(2, Buffer.from([0, 16]), sized(2, Buffer.alloc(0), list));
  };
  t.equal(await answerTo(clientHello(alpn('http/1.1'))), 22);
  t.equal(await answerTo(clientHello(alpn('h2'))), 21, 'an alert, and no other protocol');
  for (const name of ['__proto__', 'HTTP/1.1', '\0', 'x'.repeat(255)])
    t.equal(await answerTo(clientHello(alpn(name))), 21);
  const hello = clientHello(serverName('localhost'));
  for (let length = 1; length < hello.byteLength; length += 9) await answerTo(hello.subarray(0, length));
  for (const at of [0, 3, 4, 5, 6, 9, 43, 44, 60]) {
    const bent = Buffer.from(hello);
    bent.writeUInt8(0xff, at);
    await answerTo(bent);
  }
  await stillServes(t);
});
