import { createServer, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import * as fc from 'fast-check';
import t from 'tap';
import { MAX_HEAD_BYTES, readRequestHead } from '../../../src/server/hit-lane/request-head.ts';

const read = (text: string) => readRequestHead(Buffer.from(text, 'latin1'));
const lines = (...all: string[]): string => `${all.join('\r\n')}\r\n\r\n`;
const PLAIN = lines('GET /v2/a/manifests/b HTTP/1.1', 'Host: edge');

void t.test('what docker, containerd, podman and wrk send', async (t) => {
  t.same(read(PLAIN), {
    method: 'GET',
    target: '/v2/a/manifests/b',
    host: 'edge',
    authorization: undefined,
    ifNoneMatch: undefined,
    close: false,
  });
  const docker = lines(
    'HEAD /v2/library/app/manifests/latest HTTP/1.1',
    'Host: 127.0.0.1:5000',
    'User-Agent: docker/20.10.24 UpstreamClient(Docker-Client/20.10.24 \\(linux\\))',
    'Accept: application/json',
    'Accept: application/vnd.oci.image.index.v1+json',
    'Connection: close',
  );
  t.match(read(docker), { method: 'HEAD', host: '127.0.0.1:5000', close: true });
  const other = lines(
    'GET /v2/a/manifests/b?ns=docker.io HTTP/1.1',
    'hOST:edge',
    'authorization: Basic eA==',
    'if-none-match: "x"',
  );
  t.match(read(other), {
    target: '/v2/a/manifests/b?ns=docker.io',
    host: 'edge',
    authorization: 'Basic eA==',
    ifNoneMatch: '"x"',
  });
});

void t.test('everything else is left alone', async (t) => {
  const header = (...more: string[]): string => lines('GET /v2/ HTTP/1.1', 'Host: a', ...more);
  const left = {
    'no end yet': 'GET /v2/ HTTP/1.1\r\nHost: a\r\n',
    nothing: '',
    'an end alone': '\r\n\r\n',
    'half an end': PLAIN.slice(0, -1),
    'two requests': PLAIN + PLAIN,
    'something behind': `${PLAIN}x`,
    'something before': `\r\n${PLAIN}`,
    'another method': PLAIN.replace('GET', 'POST'),
    'a method in lower case': PLAIN.replace('GET', 'get'),
    'HTTP/1.0': PLAIN.replace('1.1', '1.0'),
    'HTTP/2': PLAIN.replace('HTTP/1.1', 'HTTP/2'),
    'no version': PLAIN.replace(' HTTP/1.1', ''),
    'a target in absolute form': PLAIN.replace(' /v2', ' http://other/v2'),
    'a target with a space': PLAIN.replace('/a/', '/a /'),
    'two spaces': PLAIN.replace('GET ', 'GET  '),
    'a tab for a space': PLAIN.replace('GET ', 'GET\t'),
    'a bare line feed': PLAIN.replace('\r\nHost', '\nHost'),
    'bare line feeds only': PLAIN.replaceAll('\r\n', '\n'),
    'a bare carriage return': PLAIN.replace('edge', 'ed\rge'),
    'a zero byte': PLAIN.replace('edge', 'ed\0ge'),
    'a byte over ASCII': PLAIN.replace('edge', 'ed\u00e9ge'),
    'no host': lines('GET /v2/ HTTP/1.1', 'Accept: a'),
    'no header': lines('GET /v2/ HTTP/1.1'),
    'two hosts': header('Host: b'),
    'an empty host': PLAIN.replace('edge', ''),
    'a list of hosts': PLAIN.replace('edge', 'a, b'),
    'a host with a path': PLAIN.replace('edge', 'a/b'),
    'two authorizations': header('Authorization: a', 'Authorization: b'),
    'two conditions': header('If-None-Match: a', 'If-None-Match: b'),
    'two connections': header('Connection: close', 'Connection: keep-alive'),
    'a connection of more words': header('Connection: close, x'),
    'an upgrade': header('Connection: upgrade', 'Upgrade: h2c'),
    'a length': header('Content-Length: 0'),
    chunks: header('Transfer-Encoding: chunked'),
    'an expectation': header('Expect: 100-continue'),
    'a range': header('Range: bytes=0-'),
    'a forwarded address': header('X-Forwarded-For: 10.0.0.1'),
    'another forwarded address': header('Forwarded: for=10.0.0.1'),
    'a cookie': header('Cookie: a=b'),
    'an unknown header': header('X-Other: 1'),
    'a folded line': header('Accept: a', ' b'),
    'a space before the colon': header('Accept : a'),
    'no colon': header('Accept'),
    'no name': header(': a'),
    __proto__: header('__proto__: a'),
  };
  for (const [what, text] of Object.entries(left)) t.equal(read(text), undefined, what);
  const long = (bytes: number): string => header(`Accept: ${'a'.repeat(bytes - header('Accept: ').length)}`);
  t.not(read(long(MAX_HEAD_BYTES)), undefined);
  t.equal(read(long(MAX_HEAD_BYTES + 1)), undefined, 'too long');
});

/** Pieces of requests, right and wrong, so that what comes out is often nearly a request. */
const pieces = fc.array(
  fc.constantFrom(
    'GET /v2/a/manifests/b HTTP/1.1\r\n',
    'HEAD /v2/ HTTP/1.1\r\n',
    'GET * HTTP/1.1\r\n',
    'Host: a\r\n',
    'Host:\r\n',
    'hOsT :  a \r\n',
    'Accept: a\r\n',
    'User-Agent: a: b\r\n',
    'Authorization: x \r\n',
    'If-None-Match: "x"\r\n',
    'Connection: close\r\n',
    'Connection: Keep-Alive\r\n',
    'Content-Length: 5\r\n',
    'Transfer-Encoding: chunked\r\n',
    ' folded\r\n',
    'x',
    '\t',
    ':',
    '\r',
    '\n',
    '\r\n',
    '\u00e9',
    '\0',
  ),
  { maxLength: 9 },
);

void t.test('whatever is taken, Node reads in the same way', async (t) => {
  const seen: IncomingMessage[] = [];
  const server = createServer((message, response) => {
    seen.push(message);
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const asNodeReads = (text: string): Promise<IncomingMessage[]> =>
    new Promise((resolve) => {
      seen.length = 0;
      const socket = connect(port, '127.0.0.1', () => socket.end(text, 'latin1'));
      socket.on('close', () => resolve([...seen])).resume();
    });
  let taken = 0;
  const start = fc.constantFrom('GET /v2/a/manifests/b HTTP/1.1\r\nHost: a\r\n', '');
  await fc.assert(
    fc.asyncProperty(start, pieces, async (first, more) => {
      const text = `${first}${more.join('')}\r\n`;
      const head = read(text);
      if (head === undefined) return;
      taken += 1;
      const [message, ...others] = await asNodeReads(text);
      t.equal(others.length, 0, JSON.stringify(text));
      const headers = message?.headers;
      t.same(
        [message?.method, message?.url, headers?.host, headers?.authorization, headers?.['if-none-match']],
        [head.method, head.target, head.host, head.authorization, head.ifNoneMatch],
        JSON.stringify(text),
      );
      t.equal(headers?.connection?.toLowerCase() === 'close', head.close);
    }),
    { numRuns: 2000 },
  );
  t.ok(taken > 50, `${taken} requests were taken`);
});
