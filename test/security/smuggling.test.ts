import t from 'tap';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { exchange } from '../server/raw.ts';
import { reply, serve } from '../upstream/scripted-server.ts';

/** Every push of which the upstream has seen the end. */
const pushed: string[] = [];
const upstream = await serve(t, (request, response) => {
  request.resume().once('end', () => {
    if (request.method !== 'GET' && request.method !== 'HEAD') pushed.push(request.url ?? '');
    reply(response, 202, { location: `${request.url?.split('?')[0] ?? ''}x?_state=s` });
  });
});
// With pushes, bodies go on to the upstream: the only place where two parsers could see two different requests.
const edge = await startEdge({
  config: { upstreams: [{ name: 'central', url: upstream.url, push: true, default: true }] },
});
t.teardown(() => edge.remove());

/** What an attacker would have the edge or the upstream see as a request of its own. */
const SMUGGLED = 'GET /v2/secret/manifests/latest HTTP/1.1\r\nHost: e\r\n\r\n';
const upload = (headers: string, body = '', version = '1.1'): string =>
  `PATCH /v2/app/blobs/uploads/1 HTTP/${version}\r\nHost: e\r\n${headers}\r\n${body}`;
const chunked = (body: string): string => upload('Transfer-Encoding: chunked\r\n', body);
const pull = (line: string, headers = 'Host: e\r\n'): string => `${line}\r\n${headers}\r\n`;

type Probe = readonly [name: string, sent: string, status: number];

const PROBES: readonly Probe[] = [
  // Two lengths, or one that is none (RFC 9112 §6.3).
  ['length and chunks', upload('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400],
  ['chunks and length', upload('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'), 400],
  ['two lengths', upload('Content-Length: 0\r\nContent-Length: 9\r\n'), 400],
  ['two equal lengths', upload('Content-Length: 4\r\nContent-Length: 4\r\n', 'abcd'), 400],
  ['a list of lengths', upload('Content-Length: 4, 4\r\n', 'abcd'), 400],
  ['a length with a plus', upload('Content-Length: +4\r\n', 'abcd'), 400],
  ['a length with a minus', upload('Content-Length: -4\r\n', 'abcd'), 400],
  ['a hexadecimal length', upload('Content-Length: 0x4\r\n', 'abcd'), 400],
  ['a length with a point', upload('Content-Length: 4.0\r\n', 'abcd'), 400],
  ['a length with an exponent', upload('Content-Length: 4e0\r\n', 'abcd'), 400],
  ['a length in two parts', upload('Content-Length: 4 4\r\n', 'abcd'), 400],
  ['a length and a comment', upload('Content-Length: 4;x\r\n', 'abcd'), 400],
  ['a length of nothing', upload('Content-Length:\r\n', 'abcd'), 400],
  ['a length over 2^64', upload('Content-Length: 18446744073709551620\r\n', 'abcd'), 400],
  ['a length with a NUL', upload('Content-Length: 4\0\r\n', 'abcd'), 400],
  ['a folded length', upload('Content-Length:\r\n 4\r\n', 'abcd'), 400],
  ['a length before a fold', upload('Content-Length: 4\r\n 4\r\n', 'abcd'), 400],
  ['a blank before the colon', upload('Content-Length : 4\r\n', 'abcd'), 400],
  ['a tab before the colon', upload('Content-Length\t: 4\r\n', 'abcd'), 400],
  // Transfer codings (§6.1): chunked, once, last, and nothing else.
  ['chunked twice', upload('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), 400],
  ['chunked, chunked', upload('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'), 400],
  ['chunked and then another', upload('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'), 400],
  [
    'another in a line of its own',
    upload('Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n', '0\r\n\r\n'),
    400,
  ],
  ['identity', upload('Transfer-Encoding: identity\r\n'), 400],
  ['gzip', upload('Transfer-Encoding: gzip\r\n'), 400],
  ['gzip and then chunked', upload('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'), 400],
  ['xchunked', upload('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'), 400],
  ['chunked with a parameter', upload('Transfer-Encoding: chunked;q=1\r\n', '0\r\n\r\n'), 400],
  ['chunked in quotes', upload('Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n'), 400],
  ['chunked after a vertical tab', upload('Transfer-Encoding: \vchunked\r\n', '0\r\n\r\n'), 400],
  ['chunked before a vertical tab', upload('Transfer-Encoding: chunked\v\r\n', '0\r\n\r\n'), 400],
  ['chunked with a NUL', upload('Transfer-Encoding: chunked\0\r\n', '0\r\n\r\n'), 400],
  ['chunked in a fold', upload('Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n'), 400],
  ['no coding', upload('Transfer-Encoding:\r\n', '0\r\n\r\n'), 400],
  ['chunked in HTTP/1.0', upload('Transfer-Encoding: chunked\r\n', '0\r\n\r\n', '1.0'), 400],
  // Header lines (§5).
  ['a coding behind a CR', upload('X: a\rTransfer-Encoding: chunked\r\n'), 400],
  ['a coding behind an LF', upload('X: a\nTransfer-Encoding: chunked\r\n'), 400],
  ['a coding behind a NUL', upload('X: a\0Transfer-Encoding: chunked\r\n'), 400],
  ['a line without a colon', upload('Transfer-Encoding\r\n'), 400],
  ['a name with a NUL', upload('Content-Length\0: 4\r\n', 'abcd'), 400],
  ['a name that is not ASCII', upload('Content-Length\xa0: 4\r\n', 'abcd'), 400],
  [
    'a blank before the first header',
    `PATCH /v2/app/blobs/uploads/1 HTTP/1.1\r\n Content-Length: 4\r\nHost: e\r\n\r\nabcd`,
    400,
  ],
  ['an end of headers by LF', `PATCH /v2/app/blobs/uploads/1 HTTP/1.1\r\nHost: e\r\n\n`, 400],
  // The request line (§3).
  ['a tab for a blank', pull('GET\t/v2/ HTTP/1.1'), 400],
  ['a blank behind the version', pull('GET /v2/ HTTP/1.1 '), 400],
  ['a second version', pull('GET /v2/ HTTP/1.1 HTTP/1.1'), 400],
  ['a version in lower case', pull('GET /v2/ http/1.1'), 400],
  ['a version of three digits', pull('GET /v2/ HTTP/1.10'), 400],
  ['no version', pull('GET /v2/'), 400],
  ['an LF behind the version', 'GET /v2/ HTTP/1.1\nHost: e\r\n\r\n', 400],
  ['a CR in the target', pull('GET /v2/\rx HTTP/1.1'), 400],
  ['a byte order mark', pull('\xef\xbb\xbfGET /v2/ HTTP/1.1'), 400],
  ['an absolute target', pull('GET http://e/v2/ HTTP/1.1'), 400],
  ['an absolute target without a host', pull('GET http:///v2/ HTTP/1.1'), 400],
  ['an authority for a target', pull('GET e:80 HTTP/1.1'), 400],
  // Hosts (RFC 9112 §3.2).
  ['two hosts', pull('GET /v2/ HTTP/1.1', 'Host: e\r\nHost: e\r\n'), 400],
  ['no host', pull('GET /v2/ HTTP/1.1', ''), 400],
  ['a host in a fold', pull('GET /v2/ HTTP/1.1', 'Host:\r\n e\r\n'), 400],
  ['a list of hosts', pull('GET /v2/ HTTP/1.1', 'Host: e, f\r\n'), 400],
  ['a host and a path', pull('GET /v2/ HTTP/1.1', 'Host: e/v2/\r\n'), 400],
  ['a host and a user', pull('GET /v2/ HTTP/1.1', 'Host: a@e\r\n'), 400],
  ['a host with a blank', pull('GET /v2/ HTTP/1.1', 'Host: e f\r\n'), 400],
  ['a host of nothing', pull('GET /v2/ HTTP/1.1', 'Host:\r\n'), 400],
  // A body where none belongs.
  ['a GET with a body', pull('GET /v2/ HTTP/1.1', `Host: e\r\nContent-Length: ${SMUGGLED.length}\r\n`), 400],
  ['a HEAD in chunks', pull('HEAD /v2/ HTTP/1.1', 'Host: e\r\nTransfer-Encoding: chunked\r\n'), 400],
  [
    'a DELETE with a body',
    pull('DELETE /v2/app/manifests/v1 HTTP/1.1', `Host: e\r\nContent-Length: ${SMUGGLED.length}\r\n`),
    400,
  ],
];

/** The headers were right, so the push has begun; its end never comes, and the connection is of no more use. */
const BROKEN_BODIES: readonly (readonly [name: string, sent: string])[] = [
  ['a chunk of 0x3', chunked('0x3\r\nabc\r\n0\r\n\r\n')],
  ['a chunk of +3', chunked('+3\r\nabc\r\n0\r\n\r\n')],
  ['a chunk of -3', chunked('-3\r\nabc\r\n0\r\n\r\n')],
  ['a chunk of " 3"', chunked(' 3\r\nabc\r\n0\r\n\r\n')],
  ['a chunk of "3 "', chunked('3 \r\nabc\r\n0\r\n\r\n')],
  ['a chunk of nothing', chunked('\r\nabc\r\n0\r\n\r\n')],
  ['a chunk over 2^64', chunked('10000000000000003\r\nabc\r\n0\r\n\r\n')],
  ['a size that ends in LF', chunked('3\nabc\r\n0\r\n\r\n')],
  ['a size that ends in CR', chunked('3\rabc\r\n0\r\n\r\n')],
  ['an extension that ends in LF', chunked('3;x\nabc\r\n0\r\n\r\n')],
  ['an extension with a NUL', chunked('3;\0\r\nabc\r\n0\r\n\r\n')],
  ['an extension of 32 KiB', chunked(`3;${'x'.repeat(32 * 1024)}\r\nabc\r\n0\r\n\r\n`)],
  ['a chunk that ends in LF', chunked('3\r\nabc\n0\r\n\r\n')],
  ['a chunk that is longer than it says', chunked('3\r\nabcd\r\n0\r\n\r\n')],
  ['a last chunk that ends in LF', chunked('3\r\nabc\r\n0\n\n')],
  ['an end that ends in LF', chunked('3\r\nabc\r\n0\r\n\n')],
  ['a trailer with a blank before its colon', chunked('0\r\nX : 1\r\n\r\n')],
  ['a trailer in a fold', chunked('0\r\nX: 1\r\n 2\r\n\r\n')],
  ['a trailer without a colon', chunked('0\r\nX\r\n\r\n')],
  ['a trailer with a length', chunked('0\r\nContent-Length: 99\r\n\r\n')],
  ['a trailer with a coding', chunked('0\r\nTransfer-Encoding: chunked\r\n\r\n')],
  ['trailers of 32 KiB', chunked(`0\r\nX: ${'x'.repeat(32 * 1024)}\r\n\r\n`)],
];

const { http, https } = edge;
for (const [transport, url] of Object.entries({ http, https })) {
  const tls = transport === 'https';

  void t.test(`${transport}: refused, closed, and nothing went on`, async (t) => {
    t.ok(PROBES.length >= 40);
    for (const [name, sent, status] of PROBES) {
      const head = sent.startsWith('HEAD');
      const done = await exchange(url, Buffer.from(sent + SMUGGLED, 'latin1'), { tls, head, answers: 2 });
      t.same(
        done.answers.map((answer) => answer.status),
        [status],
        name,
      );
      t.equal(done.rest.replace(/^\{.*\}$/, ''), '', `${name}: nothing behind it`);
      t.ok(done.closedByServer, `${name}: closed`);
    }
    t.same(upstream.asked, [], 'the upstream was not asked');
  });

  void t.test(`${transport}: a body that breaks ends its push and its connection`, async (t) => {
    for (const [name, sent] of BROKEN_BODIES) {
      const done = await exchange(url, Buffer.from(sent + SMUGGLED, 'latin1'), { tls, answers: 2 });
      t.ok(done.answers.length <= 1 && (done.answers[0]?.status ?? 400) >= 400, name);
      t.ok(done.closedByServer, `${name}: closed`);
      t.same(pushed.splice(0), [], `${name}: its end did not come through`);
    }
    t.same(pushed, [], 'no push came to its end');
    t.notOk(upstream.asked.some(({ url: asked }) => asked.includes('secret')));
    upstream.asked.length = 0;
  });
}

void t.test('what stands in a body, an extension or a trailer is no request and no header', async (t) => {
  const hex = SMUGGLED.length.toString(16);
  for (const sent of [
    upload(`Content-Length: ${SMUGGLED.length}\r\n`, SMUGGLED),
    chunked(`${hex}\r\n${SMUGGLED}\r\n0\r\n\r\n`),
    chunked(`3;a=b;c="d"\r\nabc\r\n0\r\nAuthorization: Basic eDp5\r\nHost: f\r\n\r\n`),
    upload('Content-Length: 3\r\nContent_Length: 9\r\nTransfer_Encoding: chunked\r\n', 'abc'),
    upload('Content-Length: 3\r\nConnection: content-length, authorization, host\r\n', 'abc'),
    upload(
      'Content-Length: 3\r\nX-HTTP-Method-Override: DELETE\r\nX-Original-URL: /v2/secret/manifests/v1\r\n',
      'abc',
    ),
  ]) {
    upstream.asked.length = 0;
    const { answers } = await exchange(edge.http, `${sent}${pull('GET /v2/ HTTP/1.1')}`, { answers: 2 });
    t.same(
      answers.map(({ status }) => status),
      [202, 200],
    );
    t.equal(upstream.asked.length, 1);
    t.match(upstream.asked, [{ method: 'PATCH', url: '/v2/app/blobs/uploads/1' }]);
    const headers = upstream.asked[0]?.headers ?? {};
    t.equal(headers.host, upstream.host);
    t.strictSame(
      Object.keys(headers).filter((name) => !['host', 'connection', 'accept-encoding'].includes(name)),
      headers['content-length'] === undefined ? ['transfer-encoding'] : ['content-length'],
    );
  }
});

void t.test(
  'a request that would upgrade is answered as any other, and is the last of its connection',
  async (t) => {
    const upgrade = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n';
    for (const [sent, status] of [
      [upload(`Content-Length: 3\r\n${upgrade}`, 'abc'), 202],
      [pull('GET /v2/ HTTP/1.1', `Host: e\r\n${upgrade}`), 200],
      [pull('GET /v2/ HTTP/1.1', 'Host: e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'), 200],
    ] as const) {
      upstream.asked.length = 0;
      const { answers, rest, closedByServer } = await exchange(edge.http, sent + SMUGGLED);
      t.same([answers.map((answer) => answer.status), rest, closedByServer], [[status], '', true]);
      t.notOk(upstream.asked.some(({ url }) => url.includes('secret')));
    }
  },
);

void t.test('what is odd and no fault is read as one request', async (t) => {
  for (const line of ['GET  /v2/ HTTP/1.1', '\r\n\r\nGET /v2/ HTTP/1.1']) {
    const { answers, rest } = await exchange(edge.http, pull(line) + pull('GET /v3/ HTTP/1.1'), {
      answers: 2,
    });
    t.same([answers.map((answer) => answer.status), rest], [[200, 404], '']);
  }
});

void t.test('and a good push and a good pull come through', async (t) => {
  pushed.length = 0;
  await get(`${edge.http}/v2/app/blobs/uploads/1`, { method: 'PATCH', body: 'abc' });
  t.same(pushed, ['/v2/app/blobs/uploads/1']);
  t.equal((await get(`${edge.http}/v2/`)).status, 200);
});
