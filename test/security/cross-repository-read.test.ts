import { randomBytes } from 'node:crypto';
import t, { type Test } from 'tap';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';

const central = await startCentral();
t.teardown(() => central.stop());
const secret = createImage({ layers: [3000, 300_000], seed: 'secret' });
const open = createImage({ layers: [3000], seed: 'open' });
central.addImage('secret/app', 'v1', secret);
central.addImage('open/app', 'v1', open);
central.addImage('denied/app', 'v1', secret);
const edge = await startEdge({
  config: { upstreams: [{ name: 'central', url: central.url, default: true, catalog: false }] },
});
t.teardown(() => edge.remove());

/** All of the secret image is here from now on, under its own repository and no other. */
async function pullSecret(): Promise<void> {
  await get(`${edge.http}/v2/secret/app/manifests/v1`);
  for (const { digest } of secret.blobs) await get(`${edge.http}/v2/secret/app/blobs/${digest}`);
}

/** An answer without what differs from one to the next, and without the digest that was asked for. */
async function shapeOf(method: string, path: string, digest: string, headers = {}): Promise<string> {
  const answer = await get(`${edge.http}/v2/${path}${digest}`, { method, headers, keepBody: true });
  const { date: _date, 'x-request-id': _id, ...rest } = answer.headers;
  return JSON.stringify([answer.status, rest, answer.body.toString()]).replaceAll(digest, 'DIGEST');
}

async function looksAbsent(t: Test, repository: string): Promise<void> {
  const unknown = `sha256:${randomBytes(32).toString('hex')}`;
  const known = [...secret.blobs.map((blob) => blob.digest), secret.digest];
  for (const kind of ['blobs', 'manifests']) {
    const path = `${repository}/${kind}/`;
    for (const digest of known) {
      for (const method of ['GET', 'HEAD']) {
        for (const headers of [{}, { range: 'bytes=0-9' }, { 'if-none-match': `"${digest}"` }]) {
          const said = await shapeOf(method, path, digest, headers);
          t.match(said, /^\[(404|503|401|403),/);
          t.equal(said, await shapeOf(method, path, unknown, headers), `${method} ${path} of what is here`);
        }
      }
    }
  }
}

await t.test('a digest that is here for another repository looks as one that is nowhere', async (t) => {
  await looksAbsent(t, 'open/app');
  await pullSecret();
  await looksAbsent(t, 'open/app');
  await looksAbsent(t, 'no/such/repository');
});

await t.test('also while it is on its way', async (t) => {
  const blob = central.addBlob('secret/app', Buffer.from(randomBytes(500_000)));
  const release = Promise.withResolvers<void>();
  central.on(
    { kind: 'blob', method: 'GET', reference: blob.digest },
    { kind: 'stall', afterBytes: 200_000, until: release.promise },
  );
  let begun = (): void => undefined;
  const running = new Promise<void>((resolve) => (begun = resolve));
  const filled = get(`${edge.http}/v2/secret/app/blobs/${blob.digest}`, { onData: () => begun() });
  await running;
  const unknown = `sha256:${randomBytes(32).toString('hex')}`;
  for (const method of ['GET', 'HEAD']) {
    const path = 'open/app/blobs/';
    t.equal(await shapeOf(method, path, blob.digest), await shapeOf(method, path, unknown));
  }
  release.resolve();
  t.equal((await filled).status, 200);
});

await t.test('and when the upstream denies the repository, or is away', async (t) => {
  for (const status of [401, 403]) {
    const fault = central.on({ repository: 'denied/app' }, { kind: 'status', status });
    await looksAbsent(t, 'denied/app');
    fault.remove();
  }
  await central.stop();
  const away = async (): Promise<string> => await shapeOf('GET', 'never/asked/manifests/', 'v1');
  await eventually(async () => (await away()).includes('is not asked at the moment'));
  // One that nobody has asked for: what was asked for is remembered as absent, whoever holds it.
  await looksAbsent(t, 'never/asked');
  t.equal(
    (await get(`${edge.http}/v2/secret/app/blobs/${secret.blobs[0]?.digest}`)).status,
    200,
    'its own is served',
  );
});
