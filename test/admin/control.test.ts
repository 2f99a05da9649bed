import { readdir, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { askToWarm, controlOf } from '../../src/admin/control-client.ts';
import type { WarmEvent } from '../../src/cache/warm/warm-job.ts';
import { get } from '../support/clients.ts';
import { serveImage, warm } from '../server/fixture.ts';

const served = await serveImage([5000]);
await warm(served);
const { edge, central, image } = served;
const socketPath = join(edge.dir, 'data/v1/control.sock');

/** Asks over the socket: status, and the content of the answer. */
async function ask(
  method: string,
  path: string,
  body?: string,
): Promise<{ status?: number; content: unknown }> {
  return await new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, agent: false }, (response) => {
      response.setEncoding('utf8');
      let text = '';
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const { statusCode } = response;
        const content: unknown = text === '' ? undefined : JSON.parse(text);
        resolve({ ...(statusCode !== undefined && { status: statusCode }), content });
      });
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

/** The blob and manifest files, which is what could be lost. */
async function files(): Promise<string[]> {
  const names = await Promise.all(
    ['blobs', 'manifests'].map((folder) => readdir(join(edge.dir, 'data/v1', folder), { recursive: true })),
  );
  return names.flat().sort();
}

void t.test('only the owner reaches it', async (t) => {
  const { mode } = await stat(socketPath);
  t.equal((mode & 0o777).toString(8), '600');
  t.equal(((await stat(join(edge.dir, 'data/v1'))).mode & 0o777).toString(8), '700');
});

void t.test('junk is refused and changes nothing', async (t) => {
  const before = await files();
  const repository = { upstream: 'central', name: 'library/app' };
  for (const body of [
    '',
    '{',
    'null',
    '"all"',
    '[]',
    '{}',
    '{"kind":"everything"}',
    '{"kind":"repository"}',
    '{"__proto__":{"kind":"all"}}',
    '\xff\xfe',
    JSON.stringify({ kind: 'repository', repository: { ...repository, name: '../..' } }),
    JSON.stringify({ kind: 'repository', repository: { name: 'library/app' } }),
    JSON.stringify({ kind: 'tag', repository }),
    JSON.stringify({ kind: 'tag', repository, tag: '../x' }),
    JSON.stringify({ kind: 'all', more: 'x'.repeat(100_000) }),
  ]) {
    const answer = await ask('POST', '/purge', body);
    t.same(answer, { status: 400, content: { error: 'not a purge selector' } }, body.slice(0, 80));
  }
  t.same(await files(), before);
});

void t.test('junk is neither warmed nor unpinned', async (t) => {
  for (const body of [
    '',
    'null',
    '[]',
    '{}',
    '{"images":[]}',
    '{"images":"app"}',
    '{"images":[1]}',
    '{"images":["../../etc"]}',
    '{"images":["app:-x"]}',
    '{"images":["elsewhere.example/app"]}',
    JSON.stringify({ images: ['app'.repeat(30_000)] }),
  ])
    for (const path of ['/warm', '/unpin'])
      t.equal((await ask('POST', path, body)).status, 400, `${path} ${body.slice(0, 80)}`);
  t.same(await ask('POST', '/warm', '{"images":["library/app"],"platforms":["amd64"]}'), {
    status: 400,
    content: {
      error:
        'takes platforms as OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, like linux/amd64 or linux/arm/v7, or all',
    },
  });
  t.equal((await ask('GET', '/warm', '{"images":["library/app"]}')).status, 404);
  t.same(await ask('GET', '/pins'), { status: 200, content: [] });
  t.same(central.log, [], 'and nothing is fetched');
});

void t.test('a warm command is told line by line, to its end', async (t) => {
  const events: WarmEvent[] = [];
  const command = { images: ['library/app', 'library/nope'], platforms: [], pin: true };
  const results = await askToWarm(socketPath, command, (event) => events.push(event));
  t.match(results, [
    { image: 'central/library/app:latest', outcome: 'complete', cachedBlobs: 2, pinned: true },
    { image: 'central/library/nope:latest', outcome: 'failed' },
  ]);
  t.same(
    events.map(({ kind }) => kind),
    ['image', 'blob', 'blob', 'done', 'done'],
  );
  const control = controlOf(socketPath);
  await t.rejects(control.purge({ kind: 'all' }), {
    name: 'CommandRefused',
    usage: false,
    message: /is pinned/,
  });
  await t.rejects(
    askToWarm(socketPath, { ...command, images: [] }, () => undefined),
    {
      name: 'CommandRefused',
      message: 'no list of images',
    },
  );
  const image = 'central/library/app:latest';
  t.same(await control.unpin(['library/app']), [{ image, was: true }]);
  t.same(await control.unpin(['library/app']), [{ image, was: false }]);
  central.forget();
});

void t.test('asking changes nothing, whatever is asked', async (t) => {
  const before = await files();
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH']) {
    t.equal((await ask(method, '/purge', '{"kind":"all"}')).status, 404, `${method} /purge`);
  }
  for (const path of ['/purge?kind=all', '/', '/../purge', '/images/', '/v2/']) {
    t.equal((await ask('GET', path)).status, 404, path);
    t.equal((await ask('POST', path, '{"kind":"all"}')).status, 404, `POST ${path}`);
  }
  const { status, content } = await ask('GET', '/stats');
  t.equal(status, 200);
  t.match(content, { tags: 1, manifests: 1, indexLoaded: true });
  t.same(await files(), before);
  t.same(central.log, [], 'nor is anything fetched');
});

void t.test('a purge of one tag takes its image out, and the next pull fetches it', async (t) => {
  const control = controlOf(socketPath);
  t.match(await control.images(), [{ repository: 'library/app', tag: 'latest', digest: image.digest }]);
  const purge = { kind: 'tag', repository: { upstream: 'central', name: 'library/app' }, tag: 'latest' };
  const { status, content } = await ask('POST', '/purge', JSON.stringify(purge));
  t.equal(status, 200);
  t.match(content, { tags: 1, manifests: 1, blobs: 2 });
  t.same(await control.images(), []);
  t.equal((await get(`${edge.http}/v2/library/app/manifests/latest`)).status, 200);
  t.equal(central.requests('GET', 'manifest', 'latest'), 1);
});
