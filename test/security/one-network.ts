/*
 * In a network namespace of its own, where every address of 2001:db8::/32 is this host's: clients from all over one /64, and a few
 * from elsewhere, at an edge that lets an address have ten connections. Prints what came of them.
 */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { freePort } from '../support/free-port.ts';
import { randomBlob } from '../support/images.ts';

const CLIENTS = 200;
await using central = await startCentral();
const blob = central.addBlob('team/app', randomBlob(20_000_000, 'network'));
const port = await freePort('::1');
await using edge = await startEdge({
  workers: 1,
  flags: ['--http', `[::]:${port}`],
  config: {
    upstreams: [{ name: 'central', url: central.url, default: true }],
    access: { allow: ['127.0.0.0/8', '::1', '2001:db8::/32'] },
    limits: { connectionsPerAddress: 10 },
  },
});
const path = `/v2/team/app/blobs/${blob.digest}`;
await get(`http://[::1]:${port}${path}`);

/** Asks for the blob and reads only its beginning, so that its request stays under way. True when it was let in. */
async function holds(host: string, localAddress: string, clients: Socket[]): Promise<boolean> {
  const client = connect({ host, port, localAddress });
  client.on('error', () => undefined);
  clients.push(client);
  client.write(`GET ${path} HTTP/1.1\r\nHost: edge\r\n\r\n`);
  // A refusal may be a reset: a request lay there unread.
  return await new Promise((resolve) => {
    client.once('readable', () => resolve(client.read(1) !== null));
    client.once('close', () => resolve(false));
  });
}

const clients: Socket[] = [];
const count = async (addresses: readonly string[], host = '::1'): Promise<number> => {
  let admitted = 0;
  for (const address of addresses) if (await holds(host, address, clients)) admitted += 1;
  return admitted;
};
const suffix = (): string =>
  randomBytes(8)
    .toString('hex')
    .replaceAll(/(.{4})(?=.)/g, '$1:');
const report = {
  oneNetwork: await count(Array.from({ length: CLIENTS }, () => `2001:db8:1:2:${suffix()}`)),
  itsNeighbour: await count([`2001:db8:1:3:${suffix()}`]),
  ipv4: await count(
    Array.from({ length: 15 }, (_, n) => `127.0.0.${n + 1}`),
    '127.0.0.1',
  ),
  refused: (await edge.metrics()).value('pierhead_refused_connections_total', { reason: 'address' }),
};
for (const client of clients) client.destroy();
process.stdout.write(JSON.stringify(report));
