import { connect } from 'node:net';
import t from 'tap';
import { startCentral } from './central.ts';
import { get, herd } from './clients.ts';
import { randomBlob } from './images.ts';
import { startThrottleProxy } from './throttle-proxy.ts';
import { TokenBucket } from './token-bucket.ts';

void t.test('carries everything, counts it, and is no faster than told', async (t) => {
  await using central = await startCentral();
  const blob = central.addBlob('app', randomBlob(300_000, 1));
  await using proxy = await startThrottleProxy({ to: central, bytesPerSecond: 2_000_000 });
  const started = performance.now();
  const answers = await herd(`${proxy.url}/v2/app/blobs/${blob.digest}`, 3);
  // A lower bound only: how long it takes beyond that is the machine's business.
  t.ok(performance.now() - started >= 900_000 / 2000);
  for (const answer of answers) t.equal(`sha256:${answer.sha256}`, blob.digest);
  t.ok(proxy.bytesDown >= 900_000 && proxy.bytesDown < 905_000);
  t.ok(proxy.bytesUp > 100);
  t.equal(proxy.connections, 3);
});

void t.test('latency is added in both directions', async (t) => {
  await using central = await startCentral();
  await using proxy = await startThrottleProxy({ to: central, latencyMs: 40 });
  t.ok((await get(`${proxy.url}/v2/`)).headersMs >= 80);
});

void t.test('the limit can be lifted while bytes flow', async (t) => {
  await using central = await startCentral();
  const blob = central.addBlob('app', randomBlob(3_000_000, 1));
  await using proxy = await startThrottleProxy({ to: central, bytesPerSecond: 20_000 });
  const answer = await get(`${proxy.url}/v2/app/blobs/${blob.digest}`, {
    onData: () => {
      proxy.bytesPerSecond = Infinity;
    },
  });
  t.equal(`sha256:${answer.sha256}`, blob.digest);
});

void t.test(
  'a cut line: connections break, new ones are refused, then it is back on the same port',
  async (t) => {
    await using central = await startCentral();
    const blob = central.addBlob('app', randomBlob(1_000_000, 1));
    await using proxy = await startThrottleProxy({ to: central, bytesPerSecond: 100_000 });
    const url = `${proxy.url}/v2/app/blobs/${blob.digest}`;
    const broken = await get(url, { onData: () => proxy.stop() });
    t.notOk(broken.complete);
    await t.rejects(get(url), { code: 'ECONNREFUSED' });
    await proxy.start();
    proxy.bytesPerSecond = Infinity;
    t.ok((await get(url)).complete);
  },
);

void t.test('an end is passed on as an end, a reset as a reset', async (t) => {
  await using central = await startCentral();
  const blob = central.addBlob('app', randomBlob(1000, 1));
  await using proxy = await startThrottleProxy({ to: central });
  for (const [by, expected] of [
    ['fin', undefined],
    ['rst', 'ECONNRESET'],
  ] as const) {
    const fault = central.on({ kind: 'blob' }, { kind: 'cut', afterBytes: 500, by });
    const socket = connect(proxy.port, proxy.host);
    socket.write(`GET /v2/app/blobs/${blob.digest} HTTP/1.1\r\nhost: x\r\n\r\n`);
    socket.resume();
    let code: string | undefined;
    socket.once('error', (error: NodeJS.ErrnoException) => {
      code = error.code;
    });
    // Not events.once(): it rejects on the error that is wanted here.
    await new Promise((resolve) => {
      socket.once('close', resolve);
    });
    t.equal(code, expected, by);
    fault.remove();
  }
});

void t.test('an idle bucket saves nothing up', async (t) => {
  const bucket = new TokenBucket(1_000_000);
  bucket.open()();
  const started = performance.now();
  await bucket.pass(Buffer.alloc(50_000), () => undefined);
  await bucket.pass(Buffer.alloc(50_000), () => undefined);
  await bucket.pass(Buffer.alloc(1), () => undefined);
  t.ok(performance.now() - started >= 95);
});
