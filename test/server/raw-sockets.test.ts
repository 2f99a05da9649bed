import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import { connect as connectTls } from 'node:tls';
import t from 'tap';
import { get } from '../support/clients.ts';
import { serveImage, warm } from './fixture.ts';
import { exchange, type RawAnswer, type RawOptions } from './raw.ts';

const served = await serveImage([300_000]);
await warm(served);
const { edge, central, image } = served;

const HOST = 'Host: edge\r\n';
const manifest = '/v2/library/app/manifests/latest';
const many = (count: number): string => Array.from({ length: count }, (_, n) => `X-${n}: 1\r\n`).join('');
const ping = (headers: string, body = ''): string => `GET /v2/ HTTP/1.1\r\n${HOST}${headers}\r\n${body}`;
const ask = (method: string, target: string, version = '1.1'): string =>
  `${method} ${target} HTTP/${version}\r\n${HOST}\r\n`;

/** What is sent, the status that comes back (0: closed without an answer), and what the detail names. */
type Probe = readonly [name: string, sent: string, status: number, detail?: RegExp];

const PROBES: readonly Probe[] = [
  // Where one request ends and the next begins must not be a matter of opinion (RFC 9112 §6.3, §11.2).
  ['length and chunks', ping('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400],
  ['chunks and length', ping('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', '0\r\n\r\n'), 400],
  ['two lengths', ping('Content-Length: 4\r\nContent-Length: 5\r\n', 'abcd'), 400],
  ['two equal lengths', ping('Content-Length: 0\r\nContent-Length: 0\r\n'), 400],
  ['a list of lengths', ping('Content-Length: 1, 1\r\n', 'a'), 400],
  ['a negative length', ping('Content-Length: -1\r\n'), 400],
  ['a length with a sign', ping('Content-Length: +1\r\n', 'a'), 400],
  ['a hexadecimal length', ping('Content-Length: 0x1\r\n', 'a'), 400],
  ['a length beyond all numbers', ping('Content-Length: 99999999999999999999\r\n'), 400],
  ['a GET with a body', ping('Content-Length: 3\r\n', 'abc'), 400, /body/],
  ['a GET in chunks', ping('Transfer-Encoding: chunked\r\n', '3\r\nabc\r\n0\r\n\r\n'), 400, /body/],
  [
    'another transfer coding',
    ping('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'),
    400,
    /transfer codings/,
  ],
  [
    'an unknown transfer coding',
    ping('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'),
    400,
    /transfer codings/,
  ],
  ['a space before the colon', ping('Transfer-Encoding : chunked\r\n'), 400],
  ['a folded header', ping('X-A: one\r\n two\r\n'), 400],
  ['a fold before any header', `GET /v2/ HTTP/1.1\r\n ${HOST}\r\n`, 400],
  ['a space in a header name', ping('X A: 1\r\n'), 400],
  ['no header name', ping(': 1\r\n'), 400],
  ['lines that end in LF', 'GET /v2/ HTTP/1.1\nHost: edge\n\n', 400],
  ['a CR within a header', ping('X-A: a\rb\r\n'), 400],
  ['a NUL within a header', ping('X-A: a\0b\r\n'), 400],
  // Whom it is for.
  ['two hosts', ping('Host: other\r\n'), 400, /host is given more than once/],
  ['no host', 'GET /v2/ HTTP/1.1\r\n\r\n', 400, /Host header is missing/],
  ['two credentials', ping('Authorization: a\r\nAuthorization: b\r\n'), 400, /authorization/],
  ['two ranges', ping('Range: bytes=0-\r\nRange: bytes=1-\r\n'), 400, /range/],
  // The target.
  ['an absolute target', ask('GET', 'http://elsewhere/v2/'), 400, /must be a path/],
  ['an asterisk', ask('OPTIONS', '*'), 400, /must be a path/],
  ['a target of 8 KiB', ask('GET', `/v2/${'a'.repeat(8192)}`), 400, /too long/],
  ['a NUL in the target', ask('GET', '/v2/\0'), 400],
  ['a space in the target', ask('GET', '/v2/ x'), 400],
  ['bytes over 127 in the target', ask('GET', '/v2/\xe9/tags/list'), 400],
  ['dots', ask('GET', '/v2/../../etc/passwd'), 404],
  ['dots in escapes', ask('GET', '/v2/%2e%2e/%2e%2e/etc/manifests/passwd'), 400, /escapes/],
  ['a fragment', ask('GET', '/v2/#x'), 400, /#/],
  ['two slashes', ask('GET', '//v2/'), 404],
  ['a backslash', ask('GET', String.raw`/v2/..\..\etc/manifests/passwd`), 400],
  // The method.
  ...['PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND'].map((method): Probe => [
    method,
    ask(method, manifest),
    405,
    new RegExp(method),
  ]),
  ['an upload', ask('POST', '/v2/library/app/blobs/uploads/'), 405, /POST/],
  [
    'a body that is not waited for',
    ping('').replace('GET', 'POST').replace(HOST, `${HOST}Content-Length: 9\r\n`),
    405,
  ],
  ['a broken chunk', `POST /v2/ HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 405],
  ['CONNECT', ask('CONNECT', 'elsewhere:443'), 0],
  ['an unknown method', ask('BREW', '/v2/'), 400],
  ['a method in lower case', ask('get', '/v2/'), 400],
  // Other protocols.
  ['HTTP/0.9', 'GET /v2/\r\n\r\n', 400],
  ['HTTP/2.0 in the request line', ask('GET', '/v2/', '2.0'), 400, /HTTP\/1\.1/],
  ['HTTP/3.7 in the request line', ask('GET', '/v2/', '3.7'), 400],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  ['garbage', '\xff\xfe\0\x01garbage\r\n\r\n', 400],
  ['a TLS ClientHello', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', 400],
  // Sizes.
  ['101 headers', ping(many(100)), 431, /100 headers/],
  ['1001 headers, the credentials last', ping(`${many(999)}Authorization: a\r\n`), 431, /100 headers/],
  [
    'more headers than Node counts',
    ping(`${'a: 1\r\n'.repeat(2100)}Authorization: a\r\n`),
    431,
    /100 headers/,
  ],
  ['a header of 17 KiB', ping(`X-A: ${'a'.repeat(17 * 1024)}\r\n`), 431, /headers/],
  // What is odd and no fault.
  ['HTTP/1.0 without a host', 'GET /v2/ HTTP/1.0\r\n\r\n', 200],
  ['empty lines before', `\r\n\r\n${ping('')}`, 200],
  ['99 headers and a host', ping(many(99)), 200],
  ['Expect: 100-continue', ping('Expect: 100-continue\r\n'), 200],
  ['Expect: the impossible', ping('Expect: everything\r\n'), 200],
  ['Upgrade to a web socket', ping('Connection: Upgrade\r\nUpgrade: websocket\r\n'), 200],
  [
    'Upgrade to HTTP/2',
    ping('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n'),
    200,
  ],
  ['__proto__ for a header', ping('__proto__: x\r\nconstructor: y\r\nhasOwnProperty: z\r\n'), 200],
  ['__proto__ for a parameter', ask('GET', '/v2/?__proto__=x&constructor=y'), 200],
];

const send = (sent: string, options?: RawOptions) =>
  exchange(edge.http, Buffer.from(sent, 'latin1'), options);

function checkShape(t: Tap, answer: RawAnswer): void {
  t.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0');
  t.match(answer.headers['x-request-id'], /^[0-9a-f-]{36}$/);
  if (answer.status < 400) return;
  t.equal(answer.headers['content-type'], 'application/json');
  const { errors } = JSON.parse(answer.body) as { errors: { code: string; message: string }[] };
  t.match(errors, [{ code: /^[A-Z_]+$/, message: String }]);
}

type Tap = Pick<typeof t, 'equal' | 'match'>;

void t.test('one probe, one answer; and the next client is served', async (t) => {
  for (const [name, sent, status, detail] of PROBES) {
    const { answers, rest } = await send(sent, { answers: 1 });
    t.same(
      answers.map((answer) => answer.status),
      status === 0 ? [] : [status],
      name,
    );
    t.equal(rest, '', `${name}: nothing behind it`);
    const [answer] = answers;
    if (answer !== undefined) checkShape(t, answer);
    if (status === 405) t.equal(answer?.headers['allow'], 'GET, HEAD', name);
    if (detail !== undefined) t.match(answer?.body, detail, name);
    t.equal((await get(`${edge.http}/v2/`)).status, 200, `served after: ${name}`);
  }
  t.same(central.log, [], 'none of it reached the central');
  const metrics = await edge.metrics();
  for (const { labels } of metrics.find('pierhead_requests_total')) t.not(labels['status']?.[0], '5');
});

void t.test('a refusal ends the connection: what follows is not a request', async (t) => {
  for (const sent of [
    ping('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${ping('')}`),
    ping('Content-Length: 3\r\n', `abc${ping('')}`),
    ping('Host: other\r\n') + ping(''),
    ping(many(100)) + ping(''),
  ]) {
    const { answers, closedByServer } = await send(sent);
    t.equal(answers.length, 1);
    t.ok(closedByServer);
  }
});

void t.test('plain HTTP on the TLS port is closed without a word', async (t) => {
  const { answers, rest } = await exchange(edge.https, ping(''));
  t.same({ answers, rest }, { answers: [], rest: '' });
  const socket = connectTls({ port: Number(new URL(edge.https).port), rejectUnauthorized: false });
  const protocol = await new Promise((resolve, reject) => {
    socket.once('secureConnect', () => resolve(socket.getProtocol()));
    socket.once('error', reject);
  });
  socket.destroy();
  t.equal(protocol, 'TLSv1.3');
});

void t.test('a client that ends its side early still gets its answer', async (t) => {
  const { answers } = await send(ask('GET', manifest), { halfClose: true });
  t.equal(answers[0]?.body, image.manifest.bytes.toString());
  const half = await send('GET /v2/ HTTP/1.1\r\nHost: e', { halfClose: true });
  t.equal(half.answers[0]?.status ?? 400, 400, 'half a request');
});

void t.test('requests sent together are answered in their order', async (t) => {
  const targets = ['/v2/', manifest, '/v2/A/tags/list', `/v2/library/app/manifests/${image.digest}`, '/v2/x'];
  const { answers } = await send(targets.map((target) => ask('GET', target)).join(''), { answers: 5 });
  t.same(
    answers.map((answer) => answer.status),
    [200, 200, 400, 200, 404],
  );
  t.equal(answers[1]?.body, image.manifest.bytes.toString());
});

void t.test('a hundred requests sent together are answered, one more ends the connection', async (t) => {
  const { answers } = await send(ask('GET', manifest).repeat(100), { answers: 100 });
  t.equal(answers.length, 100);
  t.ok(answers.every(({ status, body }) => status === 200 && body.length === image.manifest.size));
  for (const count of [101, 5000]) {
    const { answers, closedByServer } = await send(ask('GET', manifest).repeat(count));
    t.ok(answers.length < 100 && closedByServer);
  }
  t.same(central.log, []);
});

void t.test('a thousand requests one after the other, then a new connection', async (t) => {
  const { hostname, port } = new URL(edge.http);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const connections: (string | undefined)[] = [];
  const ports = new Set<number | undefined>();
  for (let n = 0; n < 1001; n++) {
    const outgoing = request({ agent, hostname, port, path: '/v2/' }).end();
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    ports.add(answer.socket.localPort);
    connections.push(answer.headers.connection);
    await once(answer.resume(), 'close');
  }
  t.equal(connections.indexOf('close'), 999);
  t.equal(ports.size, 2);
});

void t.test('garbage behind a request does not get into its answer', async (t) => {
  const blob = image.layers[0];
  const { answers } = await send(`${ask('GET', `/v2/library/app/blobs/${blob?.digest}`)}\0garbage\r\n\r\n`);
  t.same(
    answers.map((answer) => answer.status),
    [200, 400],
  );
  t.equal(answers[0]?.raw.compare(blob?.bytes ?? Buffer.alloc(0)), 0);
});
