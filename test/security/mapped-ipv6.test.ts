import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';

/** A listener for both families sees an IPv4 client as `::ffff:127.0.0.1` (CVE-2026-39409). */
async function start(
  t: Test,
  access: object,
): Promise<{ port: number; logs: () => Record<string, unknown>[] }> {
  const port = await freePort();
  const edge = await startEdge({ workers: 1, flags: ['--http', `[::]:${port}`], config: { access } });
  t.teardown(() => edge.remove());
  return { port, logs: () => edge.logs() };
}

/** False when the connection is closed before a byte. */
async function isServed(port: number, host: string): Promise<boolean> {
  const socket = connect(port, host);
  socket.on('error', () => undefined);
  socket.write('GET /v2/ HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n');
  let answered = false;
  socket.on('data', () => (answered = true));
  await new Promise((resolve) => socket.once('close', resolve));
  return answered;
}

void t.test('a rule for IPv4 holds for an IPv4 client on a listener for IPv6', async (t) => {
  const denied = await start(t, { allow: ['0.0.0.0/0', '::/0'], deny: ['127.0.0.0/8'] });
  t.equal(await isServed(denied.port, '127.0.0.1'), false, 'denied');
  t.equal(await isServed(denied.port, '::1'), true, 'the other family is not');
  const allowed = await start(t, { allow: ['127.0.0.1'] });
  t.equal(await isServed(allowed.port, '127.0.0.1'), true, 'allowed');
  t.equal(await isServed(allowed.port, '::1'), false);
  const everyIpv6 = await start(t, { allow: ['::/0'] });
  t.equal(await isServed(everyIpv6.port, '127.0.0.1'), false, 'an IPv4 client is none of IPv6');
});

void t.test('and it is on record as what it is', async (t) => {
  const { port, logs } = await start(t, {});
  await get(`http://127.0.0.1:${port}/v2/`);
  await get(`http://[::1]:${port}/v2/`);
  await eventually(() => logs().filter(({ msg }) => msg === 'request').length === 2);
  t.same(
    logs()
      .filter(({ msg }) => msg === 'request')
      .map(({ address }) => address),
    ['127.0.0.1', '::1'],
  );
});
