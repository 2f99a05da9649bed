import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { get, type Answer, type GetOptions } from '../support/clients.ts';
import { startDockerd } from '../support/docker.ts';
import { startEdge, type Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage, createIndex, pushImage, randomBlob } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRegistry } from '../support/registry.ts';
import { skopeoCopy } from '../support/skopeo.ts';
import { tempFolder } from '../support/temp.ts';
import { answersOf, leavesNothing } from './branch.ts';

const SKIP = { skip: missing('docker-registry') };
const LINUX = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' };

function pushing(central: { readonly url: string }, workers = 2, extra: object = {}): Promise<Edge> {
  const upstreams = [{ name: 'central', url: central.url, push: true, default: true }];
  return startEdge({ workers, config: { upstreams, ...extra }, readyWithinMs: 60_000 });
}

function send(url: string, method: string, options: GetOptions = {}): Promise<Answer> {
  return get(url, { method, keepBody: true, ...options });
}

function codeOf({ body }: Answer): string | undefined {
  return (JSON.parse(body.toString()) as { errors: { code: string }[] }).errors[0]?.code;
}

for (const workers of [1, 2]) {
  void t.test(`a blob, every way that the spec has, workers: ${workers}`, SKIP, async (t) => {
    await using registry = await startRegistry();
    await using edge = await pushing(registry, workers);
    const root = `${edge.http}/v2/central/team/app/blobs`;
    const [first, second, third] = [randomBlob(70_000, 1), randomBlob(3_000_000, 2), randomBlob(900_000, 3)];
    const next = (answer: Answer): string => new URL(answer.headers.location ?? '', edge.http).href;
    const withDigest = (url: string, digest: string): string => `${url}&digest=${digest}`;
    const arrives = async (t: Test, digest: string): Promise<void> => {
      const { pathname } = new URL(root);
      const [there, here] = [pathname.replace('/central', ''), pathname];
      t.equal(`sha256:${(await get(`${registry.url}${there}/${digest}`)).sha256}`, digest);
      t.equal(`sha256:${(await get(`${edge.http}${here}/${digest}`)).sha256}`, digest);
    };

    await t.test('POST, then PUT', async (t) => {
      t.equal(
        (await get(`${root}/${first.digest}`, { method: 'HEAD' })).status,
        404,
        'as clients ask before',
      );
      const started = await send(`${root}/uploads/`, 'POST');
      t.equal(started.status, 202);
      t.match(started.headers.location, /^\/v2\/central\/team\/app\/blobs\/uploads\/[\w-]+\?_state=/);
      const ended = await send(withDigest(next(started), first.digest), 'PUT', { body: first.bytes });
      t.equal(ended.status, 201);
      t.equal(ended.headers.location, `/v2/central/team/app/blobs/${first.digest}`);
      t.equal(ended.headers['docker-content-digest'], first.digest);
      await arrives(t, first.digest);
    });

    await t.test('one POST', async (t) => {
      const blob = randomBlob(1000, 'monolithic');
      const answer = await send(`${root}/uploads/?digest=${blob.digest}`, 'POST', { body: blob.bytes });
      // The registry does not have this way, and says so as the spec lets it: 202, and the client goes on with a PUT.
      t.equal(answer.status, 202);
      const ended = await send(withDigest(next(answer), blob.digest), 'PUT', { body: blob.bytes });
      t.equal(ended.status, 201);
      await arrives(t, blob.digest);
    });

    await t.test('in chunks, resumed after a break', async (t) => {
      let at = await send(`${root}/uploads/`, 'POST');
      const chunk = async (from: number, to: number): Promise<Answer> =>
        await send(next(at), 'PATCH', {
          body: second.bytes.subarray(from, to),
          headers: { 'content-range': `${from}-${to - 1}`, 'content-type': 'application/octet-stream' },
        });
      at = await chunk(0, 1_000_000);
      t.equal(at.status, 202);
      t.equal(at.headers.range, '0-999999');
      // Everything between the client and the registry breaks; nothing of the upload was in the edge's memory.
      await edge.restart();
      at = await send(next(at), 'GET');
      t.equal(at.status, 204);
      t.equal(at.headers.range, '0-999999');
      at = await chunk(1_000_000, second.size);
      t.equal(at.status, 202);
      const ended = await send(withDigest(next(at), second.digest), 'PUT');
      t.equal(ended.status, 201);
      await arrives(t, second.digest);
    });

    await t.test('mounted from another repository', async (t) => {
      for (const from of ['central/team/app', 'team/app']) {
        const query = `mount=${first.digest}&from=${from}`;
        const target = from.replaceAll('/', '-');
        const answer = await send(`${edge.http}/v2/${target}/blobs/uploads/?${query}`, 'POST');
        t.equal(answer.status, 201, from);
        t.equal(answer.headers.location, `/v2/${target}/blobs/${first.digest}`);
        t.equal((await get(`${edge.http}/v2/${target}/blobs/${first.digest}`)).bytes, first.size);
      }
      const query = `mount=${first.digest}&from=elsewhere/app`;
      t.equal((await send(`${edge.http}/v2/third/blobs/uploads/?${query}`, 'POST')).status, 202);
    });

    await t.test('given up', async (t) => {
      const started = await send(`${root}/uploads/`, 'POST');
      t.equal((await send(next(started), 'DELETE')).status, 204);
      const gone = await send(next(started), 'GET');
      t.equal(gone.status, 404);
      t.equal(codeOf(gone), 'BLOB_UPLOAD_UNKNOWN');
    });

    await t.test('what the registry refuses is refused in its words', async (t) => {
      const started = await send(`${root}/uploads/`, 'POST');
      const wrong = await send(withDigest(next(started), first.digest), 'PUT', { body: third.bytes });
      t.equal(wrong.status, 400);
      t.equal(codeOf(wrong), 'DIGEST_INVALID');
      const manifest = await send(`${edge.http}/v2/team/app/manifests/v1`, 'PUT', {
        body: createImage({ layers: [3000], seed: 'nowhere' }).manifest.bytes,
        headers: { 'content-type': 'application/vnd.docker.distribution.manifest.v2+json' },
      });
      t.equal(manifest.status, 400);
      t.equal(codeOf(manifest), 'MANIFEST_BLOB_UNKNOWN');
    });

    await t.test('deleted', async (t) => {
      t.equal((await send(`${root}/${second.digest}`, 'DELETE')).status, 202);
      t.equal((await get(`${root}/${second.digest}`)).status, 404, 'here too, although its file is');
    });

    const line = answersOf(edge).find(({ method }) => method === 'PATCH');
    t.match(line, { route: 'upload', upstream: 'central', repository: 'team/app', received: 2_000_000 });
    const metrics = await edge.metrics();
    t.ok(metrics.value('pierhead_pushed_bytes_total', { upstream: 'central' }) >= 2_900_000);
    t.ok(metrics.value('pierhead_requests_total', { route: 'upload', status: '202' }) >= 3);
    await leavesNothing(t, edge);
  });
}

void t.test('a tag that is pushed is the new one at the next pull, in every worker', SKIP, async (t) => {
  await using registry = await startRegistry();
  await using edge = await pushing(registry, 2, { freshness: { tag: '1h', negative: '1h' } });
  const url = `${edge.http}/v2/team/app/manifests/v1`;
  // Connections of their own land on one worker or the other.
  const pulls = (): Promise<string[]> =>
    Promise.all(Array.from({ length: 12 }, async () => `sha256:${(await get(url)).sha256}`));
  const only = (digest: string): string[] => Array.from({ length: 12 }, () => digest);
  t.equal((await get(url)).status, 404, 'known not to be there');
  const versions = ['one', 'two', 'three'].map((seed) => createImage({ layers: [3000], seed }));
  for (const image of versions) {
    await pushImage(edge.http, 'team/app', 'v1', image);
    t.same(await pulls(), only(image.digest));
    for (const { digest } of image.blobs)
      t.equal((await get(`${edge.http}/v2/team/app/blobs/${digest}`)).status, 200);
  }
  const index = createIndex(versions);
  await pushImage(edge.http, 'team/app', 'v1', index);
  t.same(await pulls(), only(index.digest));

  const [, two] = versions;
  t.equal((await get(`${edge.http}/v2/team/app/manifests/${two?.digest}`)).status, 200);
  t.equal((await send(`${edge.http}/v2/team/app/manifests/${two?.digest}`, 'DELETE')).status, 202);
  const after = Array.from({ length: 12 }, () => get(`${edge.http}/v2/team/app/manifests/${two?.digest}`));
  for (const { status } of await Promise.all(after)) t.equal(status, 404);
  t.equal((await send(`${edge.http}/v2/team/app/manifests/${index.digest}`, 'DELETE')).status, 202);
  t.equal((await get(url)).status, 404, 'the tag went with it');
  await leavesNothing(t, edge);
});

void t.test(
  'skopeo copies in through the edge and out again',
  { skip: missing('docker-registry', 'skopeo') },
  async (t) => {
    await using registry = await startRegistry();
    await using source = await startRegistry();
    const platforms = ['amd64', 'arm64'].map((architecture) =>
      createImage({
        layers: [2_000_000, 5000],
        seed: architecture,
        format: 'oci',
        platform: { os: 'linux', architecture },
      }),
    );
    await pushImage(source.url, 'app', 'latest', createIndex(platforms));
    await using edge = await pushing(registry);
    const at = (base: string, name: string): string => `docker://${new URL(base).host}/${name}`;
    const plain = { srcTlsVerify: false, destTlsVerify: false, all: true };
    const copied = async (name: string): Promise<string> => {
      const { sha256 } = await get(`${registry.url}/v2/${name}/manifests/latest`, {
        headers: { accept: 'application/vnd.oci.image.index.v1+json' },
      });
      return sha256;
    };
    const expected = createIndex(platforms).digest.slice(7);
    for (const name of ['team/app', 'central/other/app']) {
      const into = await skopeoCopy(at(source.url, 'app:latest'), at(edge.http, `${name}:latest`), plain);
      t.equal(into.code, 0, into.stderr);
      t.equal(await copied(name.replace('central/', '')), expected);
      const folder = tempFolder(t);
      const out = await skopeoCopy(at(edge.http, `${name}:latest`), `dir:${folder}`, plain);
      t.equal(out.code, 0, out.stderr);
    }
    const patches = answersOf(edge).filter(({ method }) => method === 'PATCH');
    t.ok(patches.length >= 4, 'skopeo uploads in chunks');
    await leavesNothing(t, edge);
  },
);

void t.test(
  'docker pushes to the edge and pulls back',
  { skip: missing('docker-registry', 'dockerd') },
  async (t) => {
    await using registry = await startRegistry();
    const image = createImage({ layers: [3_000_000, 200_000], platform: LINUX });
    await pushImage(registry.url, 'start', 'v1', image);
    await using edge = await pushing(registry);
    const { host } = new URL(edge.http);
    await using docker = await startDockerd({ mirrors: [] });
    await docker.pull(`${host}/start:v1`);
    t.equal(await docker.imageId(`${host}/start:v1`), image.imageId);
    await docker.docker('tag', `${host}/start:v1`, `${host}/central/team/app:v2`);
    // The layers are mounted from where docker had them; of another upstream's names there is nothing to mount.
    const pushed = await docker.docker('push', `${host}/central/team/app:v2`);
    t.equal(pushed.code, 0, pushed.stderr);
    const there = await get(`${registry.url}/v2/team/app/manifests/v2`, {
      headers: { accept: 'application/vnd.docker.distribution.manifest.v2+json' },
    });
    t.equal(there.status, 200);
    for (const name of ['start:v1', 'central/team/app:v2']) await docker.remove(`${host}/${name}`);
    await docker.pull(`${host}/team/app:v2`);
    t.equal(await docker.imageId(`${host}/team/app:v2`), image.imageId);
    t.match(pushed.stdout, /Mounted from|Pushed/);
    await docker.remove(`${host}/team/app:v2`);
    await leavesNothing(t, edge);
  },
);

void t.test('off: no verb gets through, to one upstream or to all', SKIP, async (t) => {
  await using registry = await startRegistry();
  const upstreams = [
    { name: 'open', url: registry.url, push: true },
    { name: 'central', url: registry.url, default: true },
  ];
  const digest = `sha256:${'0'.repeat(64)}`;
  for (const config of [{ upstreams }, { upstreams: upstreams.slice(1) }]) {
    await using edge = await startEdge({ workers: 1, config, readyWithinMs: 60_000 });
    for (const [method, path] of [
      ['POST', 'blobs/uploads/'],
      ['POST', `blobs/uploads/?digest=${digest}`],
      ['POST', `blobs/uploads/?mount=${digest}&from=open/x`],
      ['GET', 'blobs/uploads/1'],
      ['HEAD', 'blobs/uploads/1'],
      ['PATCH', 'blobs/uploads/1'],
      ['PUT', `blobs/uploads/1?digest=${digest}`],
      ['DELETE', 'blobs/uploads/1'],
      ['PUT', 'manifests/v1'],
      ['PUT', `manifests/${digest}`],
      ['PATCH', 'manifests/v1'],
      ['DELETE', 'manifests/v1'],
      ['DELETE', `manifests/${digest}`],
      ['DELETE', `blobs/${digest}`],
    ] as const) {
      for (const name of ['app', 'central/app']) {
        const body = ['PUT', 'PATCH'].includes(method) ? { body: 'x' } : {};
        const answer = await send(`${edge.http}/v2/${name}/${path}`, method, body);
        t.equal(answer.status, 405, `${method} ${name}/${path}`);
        t.equal(answer.headers.allow, 'GET, HEAD');
      }
    }
    t.notMatch(registry.log, /\/v2\/app/);
    await leavesNothing(t, edge);
  }
});

void t.test(
  'over TLS to the upstream and to the client',
  { skip: missing('docker-registry', 'skopeo') },
  async (t) => {
    await using registry = await startRegistry();
    await using far = await pushing(registry, 1);
    // The upstream of a pushing edge may itself be one, here with a certificate of its own making.
    const upstreams = [{ name: 'far', url: far.https, push: true, ca: join(far.dir, 'certs', 'ca.crt') }];
    await using edge = await startEdge({ workers: 1, config: { upstreams } });
    const image = createImage({ layers: [500_000], format: 'oci' });
    await pushImage(edge.http, 'team/app', 'v1', image);
    const { sha256 } = await get(`${registry.url}/v2/team/app/manifests/v1`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    t.equal(`sha256:${sha256}`, image.digest);
    const certDir = tempFolder(t);
    await copyFile(join(edge.dir, 'certs', 'ca.crt'), join(certDir, 'ca.crt'));
    const out = await skopeoCopy(`docker://${new URL(edge.https).host}/team/app:v1`, `dir:${tempFolder(t)}`, {
      certDir,
    });
    t.equal(out.code, 0, out.stderr);

    await using untrusting = await startEdge({
      workers: 1,
      config: { upstreams: [{ ...upstreams[0], ca: undefined }] },
    });
    const refused = await send(`${untrusting.http}/v2/team/app/blobs/uploads/`, 'POST');
    t.equal(refused.status, 503, 'a certificate that is not trusted gets no bytes');
    t.equal(codeOf(refused), 'UNAVAILABLE');
    const told = await eventually(() => untrusting.logs().find(({ msg }) => msg === 'push failed'));
    t.match(told, { upstream: 'far', cause: /certificate/ });
  },
);
