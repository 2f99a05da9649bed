import { join } from 'node:path';
import t, { type Test } from 'tap';
import { controlOf } from '../../src/admin/control-client.ts';
import { parseTag, type Tag } from '../../src/oci/reference.ts';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.ts';
import { startCentral, type Central } from '../support/central.ts';
import { get, herd, type Answer } from '../support/clients.ts';
import type { Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { cacheStatusOf, leavesNothing, startBranch } from './branch.ts';

const skip = missing('redis-server');
const SECRET = 'a-secret-that-both-edges-of-the-site-share';
const SCOPE = 'repository:team/app:pull';
const MANIFEST = manifestOf('team/app');
const CLIENTS = 50;
const WINDOW_MS = 1500;

const image = createImage({ layers: [60_000, 70_000] });

interface TestSite {
  readonly central: Central;
  readonly redis: RedisServer;
  readonly edges: readonly [Edge, Edge];
}

/** Waiting is generous: on a busy machine an edge that gives up early asks for itself, as it should. */
const PATIENT = { deadline: '20s' };
const REDIS_TIMEOUT = '2s';

async function startSite(t: Test, freshness: object): Promise<TestSite> {
  const central = await startCentral({ auth: { mode: 'token', tokenTtlSeconds: 600 } });
  t.teardown(() => central.stop());
  central.addImage('team/app', 'v1', image);
  const redis = await startRedis();
  t.teardown(() => redis.remove());
  const start = async (): Promise<Edge> => {
    const edge = await startBranch(central, {
      workers: 1,
      config: {
        redis: { url: redis.url, secret: SECRET, timeout: REDIS_TIMEOUT },
        freshness: { ...PATIENT, ...freshness },
      },
    });
    t.teardown(() => edge.remove());
    return edge;
  };
  const edges = [await start(), await start()] as const;
  await listening(redis, edges);
  return { central, redis, edges };
}

/** Both can ask Redis, and hear each other. */
async function listening(redis: RedisServer, edges: readonly Edge[]): Promise<void> {
  await eventually(async () => {
    const [, count] = (await redis.command('PUBSUB', 'NUMSUB', 'pierhead:site')) as [string, number];
    return count === edges.length;
  });
  for (const edge of edges)
    await eventually(async () => (await edge.metrics()).value('pierhead_redis_up') === 1);
}

/** A hundred clients at once, half of them at each edge. */
async function everybody({ edges }: TestSite, path: string): Promise<Answer[]> {
  return (await Promise.all(edges.map((edge) => herd(`${edge.http}${path}`, CLIENTS)))).flat();
}

function manifestOf(repository: string): string {
  return `/v2/${repository}/manifests/v1`;
}

function allRight(t: Test, answers: readonly Answer[], digest: string, what: string): void {
  t.equal(answers.length, 2 * CLIENTS);
  const right = answers.filter(
    ({ status, complete, sha256 }) => status === 200 && complete && `sha256:${sha256}` === digest,
  );
  t.equal(right.length, answers.length, what);
}

function named(name: string): RepositoryName {
  return parseRepositoryName(name) ?? fail(name);
}

function tagged(tag: string): Tag {
  return parseTag(tag) ?? fail(tag);
}

function fail(what: string): never {
  throw new Error(`cannot be parsed: ${what}`);
}

void t.test('two edges on one Redis are one site', { skip }, async (t) => {
  const site = await startSite(t, { tag: '1h' });
  const { central, redis, edges } = site;
  const [a, b] = edges;

  await t.test('a hundred clients over both: one token, one question', async (t) => {
    allRight(t, await everybody(site, MANIFEST), image.digest, 'everybody has the manifest');
    t.equal(central.requests(undefined, 'manifest'), 2, 'one question: the 401, and the answer with a token');
    for (const { digest } of image.blobs)
      allRight(t, await everybody(site, `/v2/team/app/blobs/${digest}`), digest, 'everybody has the blob');
    t.equal(central.door?.tokenRequests(SCOPE), 1, 'one token');
    t.same(await leases(redis), [], 'no lease is left');
  });

  await t.test('a purge on one edge is seen on the other at once', async (t) => {
    const [control, other] = [a, b].map((edge) => controlOf(join(edge.dir, 'data/v1/control.sock')));
    if (control === undefined || other === undefined) throw new Error('two edges');
    for (const each of [control, other])
      await eventually(async () => (await each.stats()).objects === 1 + image.blobs.length);
    const next = createImage({ layers: [50_000], seed: 2 });
    central.addImage('team/app', 'v1', next);
    t.equal(cacheStatusOf(await get(`${b.http}${MANIFEST}`)), 'pierhead; hit', 'fresh for an hour');
    const tags = `${b.http}/v2/team/app/tags/list`;
    await get(tags);
    t.equal(cacheStatusOf(await get(tags)), 'pierhead; hit', 'so is the list');
    const repository = { upstream: 'central', name: named('team/app') };
    t.match(await control.purge({ kind: 'tag', repository, tag: tagged('v1') }), { tags: 1, manifests: 1 });
    await eventually(async () => (await other.stats()).objects === 0, { what: 'B has taken it out' });
    await eventually(async () => (await carriedOut(b)) === 1, { what: 'by the other edge' });
    t.equal(await carriedOut(a), 0, 'and not a second time by this one');
    t.equal(cacheStatusOf(await get(tags)), 'pierhead; fwd=uri-miss; stored', 'the list is asked for again');
    allRight(t, await everybody(site, MANIFEST), next.digest, 'everybody has the new one');

    await redis.kill();
    await eventually(async () => (await a.metrics()).value('pierhead_redis_up') === 0);
    await control.purge({ kind: 'all' });
    t.equal((await other.stats()).tags, 1, 'not told yet');
    await redis.start();
    await eventually(async () => (await other.stats()).tags === 0, {
      timeoutMs: 60_000,
      what: 'told when the way is back',
    });
    await listening(redis, edges);
  });

  await t.test('Redis is killed in the middle: everybody gets an answer', async (t) => {
    central.addImage('team/other', 'v1', image);
    central.forget();
    central.latencyMs = 200;
    const asked = everybody(site, manifestOf('team/other'));
    await eventually(() => central.requests(undefined, 'manifest') > 0);
    await redis.kill();
    allRight(t, await asked, image.digest, 'all of them');
    central.latencyMs = 0;
    for (const { digest } of image.blobs)
      allRight(t, await everybody(site, `/v2/team/other/blobs/${digest}`), digest, 'and the blobs');
    await redis.start();
    await listening(redis, edges);
    allRight(t, await everybody(site, manifestOf('team/other')), image.digest, 'and with Redis back');
    for (const edge of edges) await leavesNothing(t, edge);
    t.same(await leases(redis), [], 'no lease is left');
  });
});

void t.test('per freshness window the tag is asked for once', { skip }, async (t) => {
  const site = await startSite(t, { tag: `${WINDOW_MS}ms` });
  const { central } = site;
  const startedAt = performance.now();
  allRight(t, await everybody(site, MANIFEST), image.digest, 'cold');
  central.forget();
  for (const count of [1, 2, 3]) {
    await eventually(
      async () => {
        // Nothing but time makes a tag stale: clients ask now and then, until an edge has to ask.
        await Promise.all(site.edges.map((edge) => get(`${edge.http}${MANIFEST}`)));
        return central.requests('HEAD', 'manifest') >= count;
      },
      { timeoutMs: 30_000 },
    );
    allRight(t, await everybody(site, MANIFEST), image.digest, `after HEAD ${count}`);
  }
  const windows = Math.ceil((performance.now() - startedAt) / WINDOW_MS);
  const heads = central.requests('HEAD', 'manifest');
  t.ok(heads <= windows, `${heads} HEADs in ${windows} windows`);
  t.equal(central.requests('GET', 'manifest'), 0, 'and the manifest itself never again');
});

async function leases(redis: RedisServer): Promise<string[]> {
  return (await redis.keys()).filter((key) => key.includes('lease:'));
}

async function carriedOut(edge: Edge): Promise<number> {
  return (await edge.metrics()).value('pierhead_site_announcements_total', { outcome: 'carried_out' });
}
