import t, { type Test } from 'tap';
import { get } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { createImage, pushImage } from '../support/images.ts';
import { missing, part } from '../support/parts.ts';
import { runProcess } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';
import { tempFolder } from '../support/temp.ts';
import { ALWAYS_ASKS, cacheStatusOf, leavesNothing, startBranch } from './branch.ts';

const image = createImage({ layers: [3000], format: 'oci' });
const TAGS = ['latest', 'v1', 'v2', 'v3', 'v4'];
const INDEX = 'application/vnd.oci.image.index.v1+json';

for (const workers of [1, 2]) {
  void t.test(
    `skopeo lists the tags of a real registry through the edge, also while it is away, workers: ${workers}`,
    { skip: missing('docker-registry', 'skopeo') },
    async (t) => {
      await using registry = await startRegistry();
      for (const tag of TAGS) await pushImage(registry.url, 'library/app', tag, image);
      const config = { freshness: { tag: '1h' } };
      await using edge = await startBranch(registry, { workers, config });
      t.same(await listedTags(t, edge.http), TAGS, 'cold');
      // It knows no pages of tags: one question, cut here.
      t.same(await pagesOf(`${edge.http}/v2/library/app/tags/list?n=2`), [
        ['latest', 'v1'],
        ['v2', 'v3'],
        ['v4'],
      ]);
      t.same(await listedTags(t, edge.http), TAGS, 'kept');
      const asked = (): number => registry.log.split('/v2/library/app/tags/list').length - 1;
      await eventually(() => asked() > 0);
      t.equal(asked(), await linesOfOne(registry.url, asked), 'it was asked once');
      await registry.stop();
      t.same(await listedTags(t, edge.http), TAGS, 'a hit needs no registry');
      await leavesNothing(t, edge);
    },
  );
}

void t.test(
  'stale while the registry is stopped, then what was pulled after a restart, then all again',
  { skip: missing('docker-registry', 'skopeo') },
  async (t) => {
    await using registry = await startRegistry();
    for (const tag of TAGS) await pushImage(registry.url, 'library/app', tag, image);
    const upstreams = [{ name: 'central', url: registry.url, default: true, catalog: true }];
    await using edge = await startBranch(registry, {
      workers: 2,
      config: { freshness: ALWAYS_ASKS, upstreams },
    });
    const list = `${edge.http}/v2/library/app/tags/list`;
    for (const tag of ['v1', 'v3']) await get(`${edge.http}/v2/library/app/manifests/${tag}`);
    t.same(await listedTags(t, edge.http), TAGS);
    t.same(JSON.parse(await bodyOf(`${edge.http}/v2/_catalog`)), { repositories: ['library/app'] });
    await registry.stop();
    t.same(await listedTags(t, edge.http), TAGS);
    t.equal(cacheStatusOf(await get(list)), 'pierhead; hit; detail=stale');
    t.same(JSON.parse(await bodyOf(`${edge.http}/v2/_catalog`)), { repositories: ['library/app'] });
    await edge.restart();
    t.same(await listedTags(t, edge.http), ['v1', 'v3']);
    t.equal(cacheStatusOf(await get(list)), 'pierhead; hit; detail=stale');
    t.equal((await get(`${edge.http}/v2/library/none/tags/list`)).status, 503);
    await registry.start();
    await eventually(async () => JSON.stringify(await listedTags(t, edge.http)) === JSON.stringify(TAGS));
    await leavesNothing(t, edge);
  },
);

void t.test(
  'referrers of a real registry that has no such API: from the tag that clients keep there',
  { skip: missing('docker-registry') },
  async (t) => {
    const sbom = createImage({
      layers: [3000],
      seed: 2,
      format: 'oci',
      subject: image,
      artifactType: 'a/sbom',
    });
    await using registry = await startRegistry();
    await pushImage(registry.url, 'library/app', 'latest', image);
    await pushImage(registry.url, 'library/app', 'sbom', sbom);
    const freshness = { ...ALWAYS_ASKS, negative: '1ms' };
    await using edge = await startBranch(registry, { config: { freshness } });
    const path = `/v2/library/app/referrers/${image.digest}`;
    t.equal((await get(`${registry.url}${path}`)).status, 404, 'the registry has no such route');
    t.match(await get(`${edge.http}${path}`), { status: 200, headers: { 'content-type': INDEX } });
    const manifests = [{ ...sbom.manifest.descriptor, artifactType: 'a/sbom' }];
    t.match(JSON.parse(await bodyOf(`${edge.http}${path}`)), { manifests: [] });
    const put = await get(`${registry.url}/v2/library/app/manifests/sha256-${image.digest.slice(7)}`, {
      method: 'PUT',
      headers: { 'content-type': INDEX },
      body: JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }),
    });
    t.equal(put.status, 201);
    await eventually(async () =>
      JSON.stringify(JSON.parse(await bodyOf(`${edge.http}${path}`))).includes('a/sbom'),
    );
    t.same(JSON.parse(await bodyOf(`${edge.http}${path}?artifactType=a%2Fsbom`)), {
      schemaVersion: 2,
      mediaType: INDEX,
      manifests,
    });
    t.match(JSON.parse(await bodyOf(`${edge.http}${path}?artifactType=a%2Fb`)), { manifests: [] });
    await leavesNothing(t, edge);
  },
);

/** What `skopeo list-tags` prints. */
async function listedTags(t: Test, base: string): Promise<unknown> {
  const home = tempFolder(t, 'skopeo');
  const args = ['list-tags', '--tls-verify=false', `docker://${new URL(base).host}/library/app`];
  const env = { PATH: process.env['PATH'], HOME: home, XDG_RUNTIME_DIR: home };
  const { code, stdout, stderr } = await runProcess(part('skopeo'), args, { env });
  t.equal(code, 0, stderr);
  return (JSON.parse(stdout) as { Tags: unknown }).Tags;
}

async function bodyOf(url: string): Promise<string> {
  return (await get(url, { keepBody: true })).body.toString();
}

async function pagesOf(url: string): Promise<unknown[]> {
  const found: unknown[] = [];
  for (let next: string | undefined = url; next !== undefined && found.length < 20;) {
    const { body, headers } = await get(next, { keepBody: true });
    found.push((JSON.parse(body.toString()) as { tags: unknown }).tags);
    const target = /^<([^>]+)>; rel="next"$/.exec(String(headers['link'] ?? ''))?.[1];
    next = target === undefined ? undefined : new URL(target, url).href;
  }
  return found;
}

/** How many lines of its log one request is: asked for once, past the edge. */
async function linesOfOne(registryUrl: string, count: () => number): Promise<number> {
  const before = count();
  await get(`${registryUrl}/v2/library/app/tags/list`);
  await eventually(() => count() > before);
  return count() - before;
}
