import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { connect as connectTls } from 'node:tls';
import t from 'tap';
import { get } from '../../support/clients.ts';
import { startEdge, type Edge } from '../../support/edge.ts';
import { freePorts } from '../../support/free-port.ts';

const ADMITTED = { allow: ['127.0.0.0/8'], deny: ['127.0.0.9', '127.1.0.0/16'] };

/** What a client gets that connects and sends nothing: the bytes until the end. */
async function firstBytes(url: string, localAddress = '127.0.0.1'): Promise<string> {
  const { port } = new URL(url);
  const socket = connect({ host: '127.0.0.1', port: Number(port), localAddress });
  let bytes = '';
  socket.on('data', (chunk) => {
    bytes += chunk.toString('latin1');
  });
  return await new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(bytes));
  });
}

const refused = async (edge: Edge): Promise<number> =>
  (await edge.metrics()).value('pierhead_refused_connections_total');

void t.test('an address that is not allowed is closed before a byte, TLS or not, and counted', async (t) => {
  await using edge = await startEdge({ config: { access: { allow: ['10.0.0.0/8'] } } });
  t.equal(await refused(edge), 0, 'the scrape itself comes from an address that is not allowed');
  // Not a byte is sent: the server ends it of its own accord.
  t.equal(await firstBytes(edge.http), '');
  t.equal(await firstBytes(edge.https), '');
  t.equal(await refused(edge), 2);
  await t.rejects(get(`${edge.http}/v2/`), { code: /ECONNRESET|EPIPE/ });
  const hello = connectTls({ port: Number(new URL(edge.https).port), rejectUnauthorized: false });
  const outcome = await new Promise((resolve) => {
    hello.once('secureConnect', () => resolve('a handshake'));
    hello.once('error', () => resolve('closed'));
  });
  t.equal(outcome, 'closed');
  hello.destroy();
  t.equal(await refused(edge), 4);
  const metrics = await edge.metrics();
  t.equal(metrics.value('pierhead_requests_total'), 0);
});

void t.test('deny wins over allow', async (t) => {
  await using edge = await startEdge({ config: { access: ADMITTED } });
  t.equal((await get(`${edge.http}/v2/`)).status, 200);
  t.equal((await get(`${edge.http}/v2/`, { localAddress: '127.0.0.8' })).status, 200);
  t.equal(await firstBytes(edge.http, '127.0.0.9'), '');
  t.equal(await firstBytes(edge.https, '127.1.2.3'), '');
  t.equal(await refused(edge), 2);
});

const hasIpv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ family }) => family === 'IPv6'),
);

void t.test(
  'an IPv4 client of an IPv6 listener is judged by its IPv4 address',
  { skip: !hasIpv6 },
  async (t) => {
    const [port = 0] = await freePorts(1);
    await using edge = await startEdge({ config: { access: ADMITTED }, flags: ['--http', `[::]:${port}`] });
    const url = `http://127.0.0.1:${port}/v2/`;
    t.equal((await get(url)).status, 200);
    t.equal(await firstBytes(url, '127.0.0.9'), '', 'denied');
    await t.rejects(get(`http://[::1]:${port}/v2/`), 'and ::1 is not in 127.0.0.0/8');
    t.equal(await refused(edge), 2);
    const line = edge.logs().find(({ msg }) => msg === 'request');
    t.equal(line?.['address'], '127.0.0.1', 'the log has it too');
  },
);
