import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { asked, failureOf, fixture, question } from './fixture.ts';
import { deadUrl, reply, serve } from './scripted-server.ts';

await t.test('three failures suspend the URL; a probe, not a client, finds it well again', async (t) => {
  let status = 500;
  const server = await serve(t, (_, response) => reply(response, status));
  const { client, clock, events } = fixture(t, server.url);
  const changes: boolean[] = [];
  client.onAvailability((available) => changes.push(available));
  for (let n = 0; n < 3; n += 1) t.match(await failureOf(client.ask(question())), { kind: 'server' });
  t.same([client.available, changes], [false, [false]]);
  await eventually(() => server.count('/v2/library') === 3 && clock.sleeping === 1);
  const questions = (): number => server.count('/v2/library');
  const probes = (): number => server.asked.filter(({ url }) => url === '/v2/').length;
  t.equal(probes(), 1, 'at once');
  t.match(await failureOf(client.ask(question({ attempts: 3 }))), { kind: 'suspended' });
  for (const [pause, expected] of [
    [1000, 2],
    [2000, 3],
    [4000, 4],
    [8000, 5],
    [16_000, 6],
    [30_000, 7],
    [30_000, 8],
  ] as const) {
    await clock.advance(pause - 1);
    t.equal(probes(), expected - 1);
    await clock.advance(1);
    await eventually(() => probes() === expected && clock.sleeping === 1);
  }
  t.equal(questions(), 3);
  status = 401;
  await clock.advance(30_000);
  await eventually(() => client.available);
  t.same(changes, [false, true]);
  t.equal(clock.sleeping, 0, 'no probe goes on');
  t.equal((await asked(client)).status, 401);
  const states = events.filter((event) => event.startsWith('healthy'));
  t.same(states, ['healthy false', 'healthy true']);
});

await t.test('a success between failures keeps the URL in use', async (t) => {
  const server = await serve(t, (_, response, n) => reply(response, n % 2 === 0 ? 200 : 500));
  const { client } = fixture(t, server.url);
  for (let n = 0; n < 5; n += 1) {
    await failureOf(client.ask(question()));
    t.equal((await asked(client)).status, 200);
  }
  t.equal(client.available, true);
});

await t.test('a registry that only fails at one repository is back within a round trip', async (t) => {
  const server = await serve(t, (request, response) => reply(response, request.url === '/v2/' ? 401 : 500));
  const { client, clock } = fixture(t, server.url);
  for (let n = 0; n < 3; n += 1) await failureOf(client.ask(question()));
  await eventually(() => client.available);
  t.equal(clock.monotonic(), 0);
});

await t.test('storage in trouble does not suspend the registry', async (t) => {
  const location = await deadUrl();
  const server = await serve(t, (_, response) => reply(response, 307, { location }));
  const { client } = fixture(t, server.url);
  for (let n = 0; n < 5; n += 1) t.match(await failureOf(client.ask(question())), { kind: 'unreachable' });
  t.equal(client.available, true);
  t.equal(server.asked.length, 5);
});

await t.test('one URL suspended: the other is asked; both: nobody', async (t) => {
  const down = await deadUrl();
  let status = 200;
  const server = await serve(t, (_, response) => reply(response, status));
  const { client } = fixture(t, [down, server.url]);
  const changes: boolean[] = [];
  client.onAvailability((available) => changes.push(available));
  for (let n = 0; n < 3; n += 1) await failureOf(client.ask(question()));
  t.equal((await asked(client)).status, 200, 'the only attempt goes to the healthy one');
  t.equal(client.available, true);
  status = 503;
  for (let n = 0; n < 3; n += 1) await failureOf(client.ask(question()));
  t.equal(client.available, false);
  t.same(changes, [false], 'told once, when the last one went');
});

await t.test('429: nobody asks before Retry-After, then one does', async (t) => {
  let throttled = true;
  let held: ServerResponse | undefined;
  const server = await serve(t, (_, response, n) => {
    if (n === 2) held = response;
    else reply(response, throttled ? 429 : 200, { 'retry-after': '30' });
  });
  const { client, clock, events } = fixture(t, server.url);
  const changes: boolean[] = [];
  client.onAvailability((available) => changes.push(available));
  const failure = await failureOf(client.ask(question({ attempts: 3 })));
  t.match(failure, { kind: 'throttled', retryAfterMs: 30_000 });
  t.equal(client.available, false);
  await clock.advance(10_000);
  t.match(await failureOf(client.ask(question())), { kind: 'throttled', retryAfterMs: 20_000 });
  t.equal(server.asked.length, 1);
  await clock.advance(20_000);
  t.equal(client.available, true);
  const probe = failureOf(client.ask(question()));
  const response = await eventually(() => held);
  t.match(await failureOf(client.ask(question())), { kind: 'throttled' });
  reply(response, 429);
  t.match(await probe, { kind: 'throttled', retryAfterMs: 5000 });
  t.same(changes, [false, true, false]);
  throttled = false;
  await clock.advance(5000);
  t.equal((await asked(client)).status, 200);
  t.equal((await asked(client)).status, 200);
  t.equal(server.asked.length, 4);
  t.notOk(events.includes('healthy false'), 'a registry that throttles is well');
});

await t.test('close ends bodies, questions, probes and pauses', async (t) => {
  const server = await serve(t, (request, response) => {
    if (request.url?.endsWith('body') !== true) return;
    response.writeHead(200);
    response.write('x');
  });
  const { client, clock } = fixture(t, [server.url, await deadUrl()]);
  const { body } = await client.ask(question({ path: 'body' }));
  const waiting = failureOf(client.ask(question({ attempts: 3 })));
  await eventually(() => server.asked.length === 2);
  const broken = t.rejects(once(body, 'end'));
  await client.close();
  await broken;
  t.match(await waiting, { kind: 'suspended' });
  t.match(await failureOf(client.ask(question())), { kind: 'suspended' });
  t.equal(server.asked.length, 2);
  const probing = fixture(t, await deadUrl());
  for (let n = 0; n < 3; n += 1) await failureOf(probing.client.ask(question()));
  await eventually(() => probing.clock.sleeping === 1);
  await probing.client.close();
  await eventually(() => probing.clock.sleeping === 0);
  t.equal(clock.sleeping, 0);
  const pausing = fixture(t, await deadUrl());
  const paused = failureOf(pausing.client.ask(question({ attempts: 3 })));
  await eventually(() => pausing.clock.sleeping === 1);
  await pausing.client.close();
  t.match(await paused, { kind: 'unreachable' });
  t.equal(pausing.clock.sleeping, 0);
});
