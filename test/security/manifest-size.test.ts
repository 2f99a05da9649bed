import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';

const MiB = 1024 * 1024;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

/** Sends blanks for as long as somebody reads, up to 256 MiB; remembers how many. */
let taken = 0;
let announced: number | undefined;
const server = createServer((request, response) => {
  taken = 0;
  const type =
    request.url?.includes('referrers') === true
      ? INDEX
      : request.url?.includes('tags') === true
        ? 'application/json'
        : MANIFEST;
  response.writeHead(200, {
    'content-type': type,
    ...(announced !== undefined && { 'content-length': announced }),
  });
  const piece = Buffer.alloc(64 * 1024, ' ');
  const send = (): void => {
    while (!response.destroyed && taken < (announced ?? 256 * MiB)) {
      taken += piece.byteLength;
      if (!response.write(piece)) return void response.once('drain', send);
    }
    response.end();
  };
  if (request.method === 'HEAD') response.end();
  else send();
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
t.teardown(() => {
  server.closeAllConnections();
  server.close();
});
const { port } = server.address() as AddressInfo;
const edge = await startEdge({
  workers: 1,
  config: { upstreams: [{ name: 'central', url: `http://127.0.0.1:${port}`, default: true }] },
});
t.teardown(() => edge.remove());

/** What sockets and streams hold is read too, before anybody looks at it. */
const SLACK = 8 * MiB;

for (const [what, length] of [
  ['a manifest without end', undefined],
  ['a manifest that announces 1 GiB', 1024 * MiB],
] as const) {
  void t.test(`${what} is read to 4 MiB and not further`, async (t) => {
    announced = length;
    for (const reference of ['latest', `sha256:${'a'.repeat(64)}`]) {
      const { status } = await get(`${edge.http}/v2/app/manifests/${reference}`);
      t.ok([400, 413, 503].includes(status), String(status));
      t.ok(taken < 4 * MiB + SLACK, `${taken} bytes`);
    }
  });
}

void t.test('nor is a list, to 32 MiB', async (t) => {
  announced = undefined;
  for (const list of ['tags/list', `referrers/sha256:${'b'.repeat(64)}`]) {
    const { status } = await get(`${edge.http}/v2/app/${list}`);
    t.ok(status >= 400, String(status));
    t.ok(taken < 32 * MiB + SLACK, `${list}: ${taken} bytes`);
  }
});

void t.test(
  'a push of more than 4 MiB of manifest is the registry’s to refuse, and is not kept here',
  async (t) => {
    const { status } = await get(`${edge.http}/v2/app/manifests/latest`, {
      method: 'PUT',
      body: Buffer.alloc(5 * MiB, ' '),
    });
    t.equal(status, 405, 'pushes are off');
  },
);
