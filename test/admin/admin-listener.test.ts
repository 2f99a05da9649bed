import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { get, herd } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning, serveImage, warm } from '../server/fixture.ts';

const served = await serveImage([30_000_000], { workers: 2 });
await warm(served);
const { edge, image } = served;

void t.test('alive and ready, and nothing else', async (t) => {
  for (const [path, status, text] of [
    ['/healthz', 200, 'alive\n'],
    ['/readyz', 200, 'serving\n'],
    ['/readyz?verbose', 200, 'serving\n'],
    ['/', 404, /\/metrics/],
    ['/v2/', 404, /\/metrics/],
    ['/metrics/', 404, /\/metrics/],
    ['/purge', 404, /\/metrics/],
  ] as const) {
    const answer = await get(edge.admin + path, { keepBody: true });
    t.equal(answer.status, status, path);
    t.match(answer.body.toString(), text, path);
    t.equal((await get(edge.admin + path, { method: 'HEAD' })).status, status, `HEAD ${path}`);
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      const refused = await get(edge.admin + path, { method });
      t.match(refused, { status: 405, headers: { allow: 'GET, HEAD' } }, `${method} ${path}`);
    }
  }
});

void t.test('metrics in the text format of Prometheus', async (t) => {
  const { headers, body } = await get(`${edge.admin}/metrics`, { keepBody: true });
  t.match(headers['content-type'], /^text\/plain; version=0\.0\.4/);
  t.ok(body.toString().endsWith('\n'));
  const typed = new Map<string, string>();
  const seen = new Set<string>();
  for (const line of body.toString().split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue;
    const [, of, type] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line) ?? [];
    if (of !== undefined) {
      t.notOk(typed.has(of), `${of} is described once`);
      typed.set(of, type ?? '');
      continue;
    }
    const [, name = '', labels = '', value] =
      /^(pierhead_[a-z0-9_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)$/.exec(line) ?? [];
    const family = typed.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, '');
    t.ok(typed.has(family), `${line} has a type`);
    t.ok(Number.isFinite(Number(value)), line);
    if (typed.get(family) === 'counter') t.match(name, /_total$/);
    t.notOk(seen.has(`${name} ${labels}`), `${line} stands there once`);
    seen.add(`${name} ${labels}`);
  }
  t.ok(typed.size > 10);
});

void t.test('what several processes have counted is one number', async (t) => {
  const counted = async (): Promise<number> =>
    (await edge.metrics()).value('pierhead_requests_total', { route: 'ping', status: '200' });
  const workers = (): number =>
    new Set(edge.logs().flatMap(({ route, process }) => (route === 'ping' ? [process] : []))).size;
  let sent = 0;
  // The kernel deals the connections out: until each worker has had one.
  while (workers() < 2) {
    for (const { status } of await herd(`${edge.http}/v2/`, 20)) t.equal(status, 200);
    sent += 20;
    await eventually(() => edge.logs().filter(({ route }) => route === 'ping').length === sent);
  }
  t.equal(await counted(), sent);
  t.equal(await counted(), sent, 'a scrape counts nothing twice');
  const metrics = await edge.metrics();
  t.equal(metrics.value('pierhead_request_duration_seconds_count', { route: 'ping' }), sent);
  t.equal(metrics.find('pierhead_resident_memory_bytes').length, 3, 'a process each: keeper and workers');
});

void t.test('while it drains: alive, not ready; and it ends with the last answer', async (t) => {
  const { hostname, port } = new URL(edge.http);
  const client = connect(Number(port), hostname);
  client.write(`GET /v2/library/app/blobs/${image.layers[0]?.digest} HTTP/1.1\r\nHost: edge\r\n\r\n`);
  await once(client, 'readable');
  edge.signal('SIGTERM');
  const draining = await eventually(async () => {
    const answer = await get(`${edge.admin}/readyz`, { keepBody: true });
    return answer.status === 503 ? answer : undefined;
  });
  t.equal(draining.body.toString(), 'not serving\n');
  t.equal((await get(`${edge.admin}/healthz`)).status, 200);
  t.equal((await get(`${edge.admin}/metrics`)).status, 200);
  let bytes = 0;
  client.on('data', (chunk: Buffer) => {
    bytes += chunk.byteLength;
  });
  // The grace is 30 s: a connection that were kept open would last as long.
  await eventually(() => client.destroyed, {
    timeoutMs: 15_000,
    what: 'the connection ends with the answer',
  });
  t.ok(bytes > (image.layers[0]?.size ?? 0), 'the running answer came to its end');
  // Not at once: a second signal would cut the drain short.
  await eventually(() => !isRunning(edge.pid), { what: 'the edge has ended' });
  t.same(await edge.stop(), { code: 0, signal: null });
});
