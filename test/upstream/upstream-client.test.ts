import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import t from 'tap';
import { ms } from '../../src/lib/brand.ts';
import { eventually } from '../support/eventually.ts';
import { asked, failureOf, fixture, question, rejectionOf } from './fixture.ts';
import { deadUrl, rawServe, reply, serve } from './scripted-server.ts';

await t.test('what the upstream says is handed on as it is', async (t) => {
  const server = await serve(t, (request, response) => {
    const status = Number(request.url?.split('/').at(-1)?.split('?')[0]);
    reply(response, status, { 'X-Many': ['first', 'second'], 'Docker-Content-Digest': 'sha256:x' });
  });
  const { client } = fixture(t, server.url);
  for (const status of [200, 206, 304, 400, 401, 403, 404, 405, 410, 416]) {
    const answer = await asked(client, { path: `manifests/${status}?n=5`, headers: { Accept: 'a/b' } });
    t.match(answer, { status, headers: { 'x-many': 'first', 'docker-content-digest': 'sha256:x' } });
  }
  t.match(server.asked[0], {
    method: 'GET',
    url: '/v2/library/alpine/manifests/200?n=5',
    headers: { accept: 'a/b', 'accept-encoding': 'identity', 'user-agent': /^pierhead\/\d+\.\d+\.\d+$/ },
  });
  for (const status of [300, 402, 418]) {
    t.match(await failureOf(client.ask(question({ path: `x/${status}` }))), { kind: 'protocol' });
  }
});

await t.test('the quota that answers about manifests tell of, also that of a 429', async (t) => {
  const server = await serve(t, (request, response) => {
    const headers = { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '3;w=21600' };
    if (request.url?.endsWith('late') === true)
      reply(response, 429, { ...headers, 'ratelimit-remaining': '0;w=21600' });
    else reply(response, 200, request.url?.endsWith('none') === true ? {} : headers);
  });
  const { client, events } = fixture(t, server.url);
  await asked(client);
  await asked(client, { path: 'manifests/none' });
  await asked(client, { path: 'blobs/x' });
  await failureOf(client.ask(question({ path: 'manifests/late' })));
  t.same(
    events.filter((event) => event.startsWith('quota')),
    ['quota 3 of 100', 'quota 0 of 100'],
  );
});

await t.test('a path in the URL is a prefix of every repository', async (t) => {
  const server = await serve(t, (_, response) => reply(response, 200));
  await asked(fixture(t, `${server.url}/hub-proxy/`).client);
  t.equal(server.asked[0]?.url, '/v2/hub-proxy/library/alpine/manifests/latest');
});

await t.test('HEAD has headers and an empty body', async (t) => {
  const server = await serve(t, (_, response) => reply(response, 200, { 'content-length': '1000' }));
  const { client } = fixture(t, server.url);
  const answer = await asked(client, { method: 'HEAD' });
  t.match(answer, { status: 200, body: '', headers: { 'content-length': '1000' } });
});

await t.test('header names that are also JavaScript’s', async (t) => {
  const url = await rawServe(t, (socket) =>
    socket.write('HTTP/1.1 200 OK\r\n__proto__: p\r\nconstructor: c\r\ncontent-length: 0\r\n\r\n'),
  );
  const { headers } = await asked(fixture(t, url).client);
  t.equal(Object.entries(headers).find(([name]) => name === '__proto__')?.[1], 'p');
  t.equal(headers['constructor'], 'c');
  t.equal(({} as Record<string, unknown>)['p'], undefined);
});

await t.test('an encoded body is not used', async (t) => {
  const server = await serve(t, (_, response) => reply(response, 200, { 'content-encoding': 'gzip' }, 'xx'));
  t.match(await failureOf(fixture(t, server.url).client.ask(question())), { kind: 'protocol' });
  const plain = await serve(t, (_, response) => reply(response, 200, { 'content-encoding': 'Identity' }));
  t.equal((await asked(fixture(t, plain.url).client)).status, 200);
});

await t.test('what is no HTTP is a protocol failure, and is not asked again', async (t) => {
  const canary = 'canary';
  const answers = [`garbage ${canary}\r\n\r\n`, `HTTP/1.1 200 OK\r\nx: ${canary.repeat(4000)}\r\n\r\n`];
  for (const text of answers) {
    let requests = 0;
    const url = await rawServe(t, (socket) => {
      requests += 1;
      socket.write(text);
    });
    const failure = await failureOf(fixture(t, url).client.ask(question({ attempts: 3 })));
    t.match(failure, { kind: 'protocol', cause: undefined });
    t.notMatch(failure.message, /canary/);
    t.equal(requests, 1);
  }
});

await t.test('nobody there: unreachable, after two short pauses', async (t) => {
  const { client, clock, events } = fixture(t, await deadUrl());
  const failure = failureOf(client.ask({ ...question(), attempts: 3 }));
  await eventually(() => clock.sleeping === 1);
  await clock.advance(100);
  await eventually(() => events.length === 2 && clock.sleeping === 1);
  await clock.advance(300);
  t.match(await failure, { kind: 'unreachable', message: /ECONNREFUSED/ });
  t.match(events.slice(0, 3), ['failed unreachable', 'failed unreachable', /healthy|failed/]);
  t.ok(clock.monotonic() < 1000);
});

await t.test('5xx and a broken connection are tried again, 4xx are not', async (t) => {
  const server = await serve(t, (request, response, n) => {
    if (request.url?.includes('404') === true) reply(response, 404);
    else if (n === 1) reply(response, 502);
    else if (n === 2) request.socket.destroy();
    else reply(response, 200, {}, 'third');
  });
  const { client, clock, events } = fixture(t, server.url);
  const { attempts: _, ...byDefault } = question();
  const answer = client.ask(byDefault);
  await eventually(() => clock.sleeping === 1);
  await clock.advance(100);
  await eventually(() => server.asked.length === 2 && clock.sleeping === 1);
  await clock.advance(300);
  const { status, body } = await answer;
  body.resume();
  t.equal(status, 200);
  t.same(events, ['answered 502', 'failed server', 'failed unreachable', 'answered 200']);
  t.equal((await asked(client, { path: 'manifests/404', attempts: 3 })).status, 404);
  t.equal(server.asked.length, 4);
});

await t.test('the next URL is asked at once, and the first again next time', async (t) => {
  let broken = true;
  const first = await serve(t, (_, response) => reply(response, broken ? 500 : 200, {}, 'first'));
  const second = await serve(t, (_, response) => reply(response, 200, {}, 'second'));
  const { client, clock } = fixture(t, [first.url, second.url]);
  t.match(await asked(client, { attempts: 3 }), { body: 'second' });
  t.equal(clock.monotonic(), 0, 'without a pause');
  broken = false;
  t.match(await asked(client), { body: 'first' });
});

await t.test('a URL that is silent is not asked again in the same question', async (t) => {
  const silent = await serve(t, () => undefined);
  const timeouts = { headers: ms(50) };
  const alone = fixture(t, silent.url, {}, { timeouts });
  t.match(await failureOf(alone.client.ask(question({ attempts: 3 }))), { kind: 'timeout' });
  t.equal(silent.asked.length, 1);
  const other = await serve(t, (_, response) => reply(response, 200, {}, 'other'));
  const { client } = fixture(t, [silent.url, other.url], {}, { timeouts });
  t.match(await asked(client, { attempts: 3 }), { body: 'other' });
});

await t.test('interim answers do not stretch the time to the headers', async (t) => {
  const url = await rawServe(t, (socket) => {
    const interim = setInterval(() => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'), 10);
    socket.once('close', () => clearInterval(interim));
  });
  const { client } = fixture(t, url, {}, { timeouts: { headers: ms(80) } });
  t.match(await failureOf(client.ask(question())), { kind: 'timeout' });
});

await t.test('a body that stops, that trickles or that is cut is an error of the stream', async (t) => {
  const begin = (response: ServerResponse): void => {
    response.writeHead(200, { 'content-length': '100000' });
    response.write('x');
  };
  const server = await serve(t, (request, response) => {
    begin(response);
    if (request.url?.endsWith('cut') === true) response.socket?.end();
    if (request.url?.endsWith('drip') !== true) return;
    const drip = setInterval(() => response.write('x'), 5);
    response.once('close', () => clearInterval(drip));
  });
  const { client } = fixture(t, server.url, {}, { timeouts: { bodyIdle: ms(250) } });
  for (const path of ['stop', 'drip', 'cut']) await t.rejects(asked(client, { path }), path);
  t.equal(client.available, true);
});

await t.test('a reader that is slow itself is not cut off', async (t) => {
  const size = 1_000_000;
  const server = await serve(t, (request, response) => {
    response.writeHead(200);
    if (request.url?.endsWith('stop') === true) response.write('x');
    else response.end(Buffer.alloc(size));
  });
  const { client } = fixture(t, server.url, {}, { timeouts: { bodyIdle: ms(40) } });
  const { body } = await client.ask(question());
  await eventually(() => body.readableLength > 0);
  for (let windows = 0; windows < 4; windows += 1) await t.rejects(asked(client, { path: 'stop' }));
  t.notOk(body.destroyed, 'others were given up meanwhile');
  let received = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) received += chunk.length;
  t.equal(received, size);
});

await t.test('a body that is given up does not end the process, and frees its connection', async (t) => {
  let closed = 0;
  const server = await serve(t, (request, response) => {
    if (request.url?.endsWith('whole') === true) return reply(response, 200, {}, 'whole');
    response.writeHead(200, { 'content-length': '10000000' });
    response.write('x');
    response.on('close', () => (closed += 1));
  });
  const { client } = fixture(t, server.url);
  const { body } = await client.ask(question());
  body.destroy();
  await eventually(() => body.closed && closed === 1);
  const { body: unread } = await client.ask(question({ path: 'whole' }));
  await eventually(() => unread.readableLength === 5);
  unread.destroy();
  await eventually(() => unread.closed);
});

await t.test('an abort rejects with its reason, before, during and after the headers', async (t) => {
  let arrived = 0;
  const server = await serve(t, (request, response) => {
    arrived += 1;
    if (request.url?.endsWith('body') !== true) return;
    response.writeHead(200);
    response.write('x');
  });
  const { client, clock } = fixture(t, server.url);
  const reason = new Error('enough');
  t.equal(await rejectionOf(client.ask(question({ signal: AbortSignal.abort(reason) }))), reason);
  t.equal(arrived, 0);
  const waiting = new AbortController();
  const answer = client.ask(question({ signal: waiting.signal }));
  await eventually(() => arrived === 1);
  waiting.abort(reason);
  t.equal(await rejectionOf(answer), reason);
  const reading = new AbortController();
  const { body } = await client.ask(question({ signal: reading.signal, path: 'body' }));
  const ended = once(body, 'end');
  body.resume();
  reading.abort(reason);
  t.equal(await rejectionOf(ended), reason);
  const pausing = new AbortController();
  const refused = fixture(t, await deadUrl(), {}, { clock });
  const retried = refused.client.ask(question({ signal: pausing.signal, attempts: 2 }));
  await eventually(() => clock.sleeping === 1);
  pausing.abort(reason);
  t.equal(await rejectionOf(retried), reason);
  t.equal(clock.sleeping, 0);
  t.equal(client.available, true, 'an abort is nobody’s failure');
});

await t.test('a spare response does not become the next answer (CVE-2026-48931)', async (t) => {
  const url = await rawServe(t, (socket, request) => {
    const answer = (body: string): string =>
      `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    socket.write(request === 1 ? answer('one') + answer('poison') : answer(`good${request}`));
  });
  const { client } = fixture(t, url);
  t.match(await asked(client), { body: 'one' });
  t.match(await asked(client), { body: 'good2' });
  t.match(await asked(client), { body: 'good3' });
});

await t.test('connections are kept and used again', async (t) => {
  const ports = new Set<number | undefined>();
  const server = await serve(t, (request, response) => {
    ports.add(request.socket.remotePort);
    reply(response, request.url?.endsWith('first') === true ? 307 : 200, { location: '/else' }, 'body');
  });
  const { client } = fixture(t, server.url);
  for (const path of ['first', 'second', 'first', 'third']) await asked(client, { path });
  t.equal(server.asked.length, 6);
  t.ok(ports.size <= 2, 'a redirect within the origin may overtake the body that is discarded');
});
