import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { get, type Answer, type GetOptions } from '../support/clients.ts';
import { startEdge, type Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { serve, reply, deadUrl, type Script, type ScriptedServer } from '../upstream/scripted-server.ts';
import { exchange } from './raw.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const CANARY = 'Basic Y2FuYXJ5OnNlY3JldA==';

interface Scene {
  readonly edge: Edge;
  readonly upstream: ScriptedServer;
  readonly other: ScriptedServer;
  script: Script;
}

/** One edge for all tests: each sets what the upstream answers. */
async function scene(t: Test): Promise<Scene> {
  const other = await serve(t, (_, response) => reply(response, 200));
  const state: { script: Script } = { script: (_, response) => reply(response, 500) };
  const upstream = await serve(t, (request, response, asked) => {
    if (request.url === '/v2/') reply(response, 200);
    else state.script(request, response, asked);
  });
  const edge = await startEdge({
    config: {
      upstreams: [
        { name: 'central', url: `${upstream.url}/project`, push: true, default: true },
        { name: 'quiet', url: upstream.url },
        { name: 'away', url: await deadUrl(), push: true },
      ],
    },
  });
  t.teardown(() => edge.remove());
  return Object.assign(state, { edge, upstream, other });
}

const it = await scene(t);

function send(target: string, method: string, options: GetOptions = {}): Promise<Answer> {
  return get(`${it.edge.http}/v2/${target}`, { method, keepBody: true, ...options });
}

function errorOf({ body }: Answer): { code: string; detail?: string } {
  const { errors } = JSON.parse(body.toString()) as { errors: { code: string; detail?: string }[] };
  return errors[0] ?? { code: 'none' };
}

const takes: Script = (request, response) => {
  request.resume().once('end', () => {
    reply(response, 202, { location: `/v2/project/app/blobs/uploads/1?_state=s`, 'docker-upload-uuid': '1' });
  });
};

t.beforeEach(() => {
  it.upstream.asked.length = 0;
  it.script = takes;
});

void t.test(
  'what goes on to the upstream: the body, the credentials, and no more than is needed',
  async (t) => {
    const bodies: Buffer[] = [];
    it.script = (request, response, asked) => {
      request.on('data', (chunk: Buffer) => bodies.push(chunk));
      takes(request, response, asked);
    };
    const answer = await send('central/app/blobs/uploads/1?_state=s', 'PATCH', {
      body: 'hello',
      headers: {
        authorization: CANARY,
        'content-range': '0-4',
        'content-type': 'application/octet-stream',
        'user-agent': 'docker/20.10',
        connection: 'keep-alive, x-hop',
        'x-hop': '1',
        'x-forwarded-host': 'evil',
        'x-forwarded-proto': 'https',
        forwarded: 'host=evil',
        cookie: 'a=b',
        te: 'trailers',
        'proxy-authorization': CANARY,
      },
    });
    t.equal(answer.status, 202);
    t.equal(answer.headers.location, '/v2/central/app/blobs/uploads/1?_state=s');
    t.equal(answer.headers['docker-upload-uuid'], '1');
    t.equal(answer.headers['content-length'], '0');
    t.equal(Buffer.concat(bodies).toString(), 'hello');
    const [asked] = it.upstream.asked;
    t.equal(asked?.url, '/v2/project/app/blobs/uploads/1?_state=s');
    t.strictSame(
      { ...asked?.headers },
      {
        host: it.upstream.host,
        authorization: CANARY,
        'accept-encoding': 'identity',
        'content-length': '5',
        'content-range': '0-4',
        'content-type': 'application/octet-stream',
        'user-agent': 'docker/20.10',
        connection: 'keep-alive',
      },
    );
    t.notMatch(it.edge.output, CANARY.slice(6));
  },
);

void t.test('a location elsewhere is refused, and nobody is asked there', async (t) => {
  const { hostname, port } = new URL(it.upstream.url);
  for (const location of [
    `${it.other.url}/v2/project/app/blobs/uploads/1`,
    `http://${it.other.host}@${hostname}:${port}/x`,
    `//${it.other.host}/v2/project/app/blobs/uploads/1`,
    `https://${hostname}:${port}/v2/project/app/blobs/uploads/1`,
    `http://localhost:${port}/v2/project/app/blobs/uploads/1`,
    `http://${hostname}/v2/project/app/blobs/uploads/1`,
    '/v2/project/app/blobs/uploads/../../../other/blobs/uploads/1',
    String.raw`/\${it.other.host}/v2/`,
  ]) {
    it.script = (_, response) => reply(response, 202, { location });
    const answer = await send('app/blobs/uploads/', 'POST');
    t.equal(answer.status, 502, location);
    t.match(errorOf(answer), { code: 'UNKNOWN', detail: /upload location/ });
    t.equal(answer.headers.location, undefined);
  }
  it.script = (_, response) => reply(response, 202);
  t.match(errorOf(await send('app/blobs/uploads/', 'POST')), { detail: /did not say where it goes on/ });
  it.script = (_, response) => reply(response, 307, { location: `${it.other.url}/v2/app/blobs/uploads/` });
  const redirected = await send('app/blobs/uploads/', 'POST', { headers: { authorization: CANARY } });
  t.equal(redirected.status, 502);
  t.match(errorOf(redirected), { detail: /redirect \(307\)/ });
  t.same(it.other.asked, []);
});

void t.test('a header that a location smuggles in stays there', async (t) => {
  it.script = (_, response) => {
    response.socket?.end(
      'HTTP/1.1 202 Accepted\r\nLocation: /v2/project/app/blobs/uploads/1\r\nX-Evil: 1\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n',
    );
  };
  const answer = await send('app/blobs/uploads/', 'POST');
  t.equal(answer.status, 202);
  t.equal(answer.headers['x-evil'], undefined);
  t.equal(answer.headers['set-cookie'], undefined);
});

void t.test('sessions of a client’s own making reach nothing', async (t) => {
  for (const session of ['..', '../../x', '%2e%2e', '~AAAA', 'a%2f..%2fb', '~'.repeat(30)]) {
    const { answers } = await exchange(
      it.edge.http,
      `PUT /v2/app/blobs/uploads/${session}?digest=${DIGEST} HTTP/1.1\r\nHost: e\r\nContent-Length: 0\r\n\r\n`,
      { answers: 1 },
    );
    t.ok([400, 404].includes(answers[0]?.status ?? 0), `${session}: ${answers[0]?.status}`);
  }
  t.same(it.upstream.asked, []);
});

void t.test('locations of another shape lead back to where the upstream said', async (t) => {
  it.script = (_, response) =>
    reply(response, 202, { location: `${it.upstream.url}/uploads/r%2Fapp/AJ+x=?upload_id=7` });
  const started = await send('app/blobs/uploads/', 'POST');
  t.match(started.headers.location, /^\/v2\/app\/blobs\/uploads\/~[\w-]+$/);
  it.script = (request, response) => {
    request.resume();
    reply(response, 201, { 'docker-content-digest': DIGEST, location: 'https://cdn.example/blob' });
  };
  const ended = await get(`${it.edge.http}${started.headers.location}?digest=${DIGEST}`, {
    method: 'PUT',
    body: 'x',
  });
  t.equal(ended.status, 201);
  t.equal(ended.headers.location, `/v2/app/blobs/${DIGEST}`, 'of what is whole, here');
  t.equal(it.upstream.asked.at(-1)?.url, `/uploads/r%2Fapp/AJ+x=?upload_id=7&digest=${DIGEST}`);
});

void t.test('a mount names its source as this edge does', async (t) => {
  for (const [query, passed] of [
    [`mount=${DIGEST}&from=lib/base`, `?mount=${DIGEST}&from=project/lib/base`],
    [`mount=${DIGEST}&from=central/lib/base`, `?mount=${DIGEST}&from=project/lib/base`],
    [`mount=${DIGEST}&from=quiet/lib/base`, ''],
    [`mount=${DIGEST}`, ''],
    [`mount=junk&from=lib/base`, ''],
    [`mount=${DIGEST}&from=../secret`, ''],
    [`digest=${DIGEST}`, `?digest=${DIGEST}`],
    ['x=y', ''],
  ] as const) {
    await send(`app/blobs/uploads/?${query}`, 'POST');
    t.equal(it.upstream.asked.at(-1)?.url, `/v2/project/app/blobs/uploads/${passed}`, query);
  }
  await send(`lib/app/blobs/uploads/?ns=central&mount=${DIGEST}&from=lib/base`, 'POST');
  t.equal(
    it.upstream.asked.at(-1)?.url,
    `/v2/project/lib/app/blobs/uploads/?mount=${DIGEST}&from=project/lib/base`,
  );
});

void t.test('the upstream’s refusals come through: its JSON as it is, other pages as ours', async (t) => {
  const challenge = `Bearer realm="${it.upstream.url}/token",service="central",scope="repository:app:push"`;
  const said = JSON.stringify({ errors: [{ code: 'DENIED', message: 'quota', detail: { used: 7 } }] });
  it.script = (_, response) =>
    reply(response, 401, { 'www-authenticate': challenge, 'set-cookie': 'a=b', server: 'x' }, said);
  const denied = await send('app/blobs/uploads/', 'POST');
  t.equal(denied.status, 401);
  t.equal(denied.headers['www-authenticate'], challenge);
  it.script = (_, response) =>
    reply(response, 401, { 'www-authenticate': 'Bearer realm="https://elsewhere.example/token"' }, said);
  const led = await send('app/blobs/uploads/', 'POST');
  t.equal(led.status, 401);
  t.equal(led.headers['www-authenticate'], undefined, 'no client takes its password elsewhere');
  t.equal(denied.headers['set-cookie'], undefined);
  t.equal(denied.headers.server, undefined);
  t.equal(denied.body.toString(), said);
  for (const [status, body, code] of [
    [403, '<html>no</html>', 'DENIED'],
    [404, '', 'NAME_UNKNOWN'],
    [413, 'too large', 'SIZE_INVALID'],
    [429, '{"errors":"none"}', 'TOOMANYREQUESTS'],
    [500, `{"errors":[${'1,'.repeat(40_000)}1]}`, 'UNKNOWN'],
    [503, '{', 'UNAVAILABLE'],
  ] as const) {
    it.script = (_, response) => reply(response, status, { 'retry-after': '7' }, body);
    const answer = await send('app/manifests/v1', 'PUT', { body: '{}' });
    t.equal(answer.status, status);
    t.equal(answer.headers['retry-after'], '7');
    t.match(errorOf(answer), { code, detail: `the upstream answered ${status}` });
  }
});

void t.test(
  'where a chunk belongs is said with the refusal, if it is a place that may be named',
  async (t) => {
    const own = '/v2/project/app/blobs/uploads/1?_state=t';
    for (const [location, expected] of [
      [own, '/v2/app/blobs/uploads/1?_state=t'],
      [`${it.other.url}/x`, undefined],
    ] as const) {
      it.script = (_, response) => reply(response, 416, { location, range: '0-99' });
      const answer = await send('app/blobs/uploads/1', 'PATCH', { body: 'x' });
      t.equal(answer.status, 416);
      t.equal(answer.headers.range, '0-99');
      t.equal(answer.headers.location, expected);
    }
  },
);

void t.test('no upstream: an answer at once, and a line for the operator', async (t) => {
  const answer = await send('away/app/blobs/uploads/', 'POST');
  t.equal(answer.status, 503);
  t.match(errorOf(answer), { code: 'UNAVAILABLE', detail: /did not come through/ });
  const told = (): boolean =>
    it.edge.logs().some(({ msg, cause }) => msg === 'push failed' && /ECONNREFUSED/.test(String(cause)));
  await eventually(told);
});

void t.test('an upstream that answers early, or breaks, leaves nothing hanging', async (t) => {
  it.script = (_, response) => reply(response, 401, {}, '{"errors":[]}');
  const early = await send('app/blobs/uploads/1', 'PATCH', { body: Buffer.alloc(8_000_000) });
  t.equal(early.status, 401);
  it.script = (request) => request.once('data', () => request.socket.destroy());
  const broken = await send('app/blobs/uploads/1', 'PATCH', { body: Buffer.alloc(8_000_000) });
  t.equal(broken.status, 503);
  it.script = takes;
  t.equal((await send('app/blobs/uploads/', 'POST')).status, 202);
});

void t.test('Expect: the body is asked for when it is wanted, and not before', async (t) => {
  const head = (target: string): string =>
    `PATCH /v2/${target}/blobs/uploads/1 HTTP/1.1\r\nHost: e\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n`;
  const wanted = await exchange(it.edge.http, `${head('app')}abc`, { answers: 2 });
  t.same(
    wanted.answers.map(({ status }) => status),
    [100, 202],
  );
  t.equal(it.upstream.asked.at(-1)?.headers.expect, undefined);
  const unwanted = await exchange(it.edge.http, head('quiet/app'), { answers: 1 });
  t.same(
    unwanted.answers.map(({ status }) => status),
    [405],
  );
});

void t.test('where pushes are on, other methods are told which there are', async (t) => {
  for (const [target, method, allow] of [
    ['app/manifests/v1', 'PATCH', 'GET, HEAD, PUT, DELETE'],
    [`app/blobs/${DIGEST}`, 'PUT', 'GET, HEAD, DELETE'],
    ['app/blobs/uploads/', 'PUT', 'POST'],
    ['app/blobs/uploads/', 'GET', 'POST'],
    ['app/blobs/uploads/1', 'POST', 'GET, HEAD, PATCH, PUT, DELETE'],
    ['app/tags/list', 'DELETE', 'GET, HEAD'],
    ['', 'POST', 'GET, HEAD'],
    ['_catalog', 'PUT', 'GET, HEAD'],
  ] as const) {
    const answer = await send(target, method);
    t.equal(answer.status, 405, `${method} ${target}`);
    t.equal(answer.headers.allow, allow, `${method} ${target}`);
    t.equal(errorOf(answer).code, 'UNSUPPORTED');
  }
  t.same(it.upstream.asked, []);
});

void t.test('bodies that another parser might read as a request are refused', async (t) => {
  const smuggled = 'GET /v2/secret/manifests/v1 HTTP/1.1\r\nHost: e\r\n\r\n';
  for (const framing of [
    `Transfer-Encoding: chunked\r\n\r\n${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`,
    `Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
  ]) {
    const sent = `DELETE /v2/app/manifests/v1 HTTP/1.1\r\nHost: e\r\n${framing}`;
    const { answers } = await exchange(it.edge.http, sent, { answers: 1 });
    t.equal(answers[0]?.status, 400);
    t.match(answers[0]?.body, /carries no body/);
  }
  t.same(it.upstream.asked, []);
});

void t.test('chunks and lengths arrive as they were meant', async (t) => {
  const seen: string[] = [];
  it.script = (request, response, asked) => {
    const hash = createHash('sha256');
    request.on('data', (chunk: Buffer) => hash.update(chunk));
    request.once('end', () => {
      const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
      seen.push(`${length} ${coding} ${hash.digest('hex').slice(0, 8)}`);
    });
    takes(request, response, asked);
  };
  const sum = createHash('sha256').update('abcdef').digest('hex').slice(0, 8);
  const head = `PATCH /v2/app/blobs/uploads/1 HTTP/1.1\r\nHost: e\r\n`;
  const next = `POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: e\r\n\r\n`;
  const none = createHash('sha256').digest('hex').slice(0, 8);
  await exchange(
    it.edge.http,
    `${head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Trailer: 1\r\n\r\n${head}Content-Length: 6\r\n\r\nabcdef${next}`,
    { answers: 3 },
  );
  t.same(seen, [`undefined chunked ${sum}`, `6 undefined ${sum}`, `0 undefined ${none}`]);
});

void t.test('a client that goes away takes its upload with it, and is logged as gone', async (t) => {
  const closed = new Promise<void>((resolve) => {
    it.script = (request) => {
      request.resume();
      request.once('close', () => resolve());
    };
  });
  const arrived = new AbortController();
  const aborted = get(`${it.edge.http}/v2/app/blobs/uploads/1`, {
    method: 'PATCH',
    headers: { 'content-length': 1000 },
    body: 'x',
    signal: arrived.signal,
  });
  await eventually(() => it.upstream.asked.length === 1);
  arrived.abort();
  await t.rejects(aborted);
  await closed;
  await eventually(() => it.edge.logs().some(({ status }) => status === 499));
});

void t.test(
  'headers that drip and bodies that nobody wants are cut, although pushes may take long',
  async (t) => {
    const port = Number(new URL(it.edge.http).port);
    const cut = async (sent: string): Promise<string> => {
      const socket = connect(port, '127.0.0.1');
      let answer = '';
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
      socket.on('error', () => undefined);
      socket.write(sent);
      await once(socket, 'close');
      return answer;
    };
    const [headers, body] = await Promise.all([
      cut('PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: e\r\nX-Drip: '),
      cut('PUT /v2/quiet/app/manifests/v1 HTTP/1.1\r\nHost: e\r\nContent-Length: 1000\r\n\r\nabc'),
    ]);
    t.match(headers, /^HTTP\/1.1 408 /);
    t.match(body, /^HTTP\/1.1 405 /);
  },
);
