import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startCentral, type Central } from '../support/central.ts';
import { get } from '../support/clients.ts';
import type { Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage, createIndex, pushImage, type ImageFixture } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { runProcess, startProcess, type Finished } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';
import { skopeoCopy } from '../support/skopeo.ts';
import { tempFolder } from '../support/temp.ts';
import {
  ALWAYS_ASKS,
  digestsIn,
  digestsOf,
  fetchesOf,
  leavesNothing,
  pullAll,
  startBranch,
  wholeOf,
} from './branch.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');

// Docker and skopeo pull what their own machine runs.
const HOST = process.arch === 'x64' ? 'amd64' : process.arch;
const OTHER = HOST === 'amd64' ? 'arm64' : 'amd64';
const [host, other] = [HOST, OTHER].map((architecture) =>
  createImage({
    layers: [80_000, 7000],
    seed: architecture,
    format: 'oci',
    platform: { os: 'linux', architecture },
  }),
) as [ImageFixture, ImageFixture];
const index = createIndex([host, other]);

void t.test(
  'warmed from a real registry for this host, skopeo pulls with the registry gone',
  { skip: missing('docker-registry', 'skopeo') },
  async (t) => {
    await using registry = await startRegistry();
    await pushImage(registry.url, 'team/many', 'v1', index);
    await using edge = await startBranch(registry, { workers: 2 });
    const output = await succeeds(t, pierhead('warm', 'team/many:v1', ...dataOf(edge)));
    t.match(output, new RegExp(`central/team/many:v1: 3 blobs for linux/${HOST}\n`));
    t.match(output, /central\/team\/many:v1: complete, 3 fetched \(\d+\.\d KiB\), 0 here already\n/);
    t.notOk(output.includes('\u001b') || output.includes('█'), 'plain lines where there is no terminal');
    t.same(await fetchesOf(registry, digestsOf(host)), [1, 1, 1]);
    for (const digest of digestsOf(other))
      t.notMatch(registry.log, new RegExp(`GET .*${digest}`), 'nothing of the other platform');
    await registry.stop();
    const from = `docker://${new URL(edge.http).host}/team/many:v1`;
    const copied = await skopeoCopy(from, `dir:${tempFolder(t)}`, { srcTlsVerify: false });
    // The index comes whole with --preserve-digests, so that skopeo takes this host's image by its digest.
    t.equal(copied.code, 0, copied.stderr);
    await leavesNothing(t, edge);
  },
);

void t.test('pierhead warm: the chosen platform, each blob by one GET, and again none', async (t) => {
  await using central = await startCentral();
  central.addImage('team/many', 'v1', index);
  await using edge = await startBranch(central, { workers: 1, config: { freshness: ALWAYS_ASKS } });
  const args = ['warm', 'central/team/many:v1', '--platform', `linux/${OTHER}`, ...dataOf(edge)];
  await succeeds(t, pierhead(...args));
  t.same(fetched(central), digestsOf(other).sort());
  central.forget();
  const again = await succeeds(t, pierhead(...args));
  t.match(again, /complete, 0 fetched \(0 B\), 3 here already/);
  t.same(
    central.log.map(({ method, kind, reference }) => `${method} ${kind} ${reference}`),
    ['HEAD manifest v1'],
    'one question for the tag, and nothing else',
  );
  const all = await succeeds(t, pierhead('warm', 'team/many:v1', '--platform', 'all', ...dataOf(edge)));
  t.match(all, /6 blobs for all platforms[^]*complete, 3 fetched/);
  const metrics = await edge.metrics();
  t.match(metrics.find('pierhead_warm_blobs_total', { outcome: 'fetched' }), [{ value: 6 }]);
  await leavesNothing(t, edge);
});

void t.test('pierhead warm: what cannot be had, and what is not understood', async (t) => {
  await using central = await startCentral();
  central.addImage('team/many', 'v1', index);
  central.addImage('team/broken', 'v1', host);
  const [layer] = host.layers;
  central.contents.remove('team/broken', layer?.digest ?? '');
  await using edge = await startBranch(central, { workers: 1 });
  const mixed = await pierhead('warm', 'team/nope:v1', 'team/broken:v1', 'team/many:v1', ...dataOf(edge));
  t.equal(mixed.code, 1);
  t.match(mixed.stdout, /central\/team\/nope:v1: failed, [^\n]*\n  the upstream has no such manifest/);
  t.match(
    mixed.stdout,
    new RegExp(`central/team/broken:v1: failed, 2 fetched [^]*  ${layer?.digest}: the upstream does not`),
  );
  t.match(mixed.stdout, /central\/team\/many:v1: complete/, 'what comes after it comes all the same');
  for (const [args, said] of [
    [['quay.io/org/app'], /"quay\.io\/org\/app": there is no upstream quay\.io; this edge has central/],
    [['team/Many'], /"team\/Many": takes an image/],
    [['team/many:v1', '--platform', 'amd64'], /--platform: got "amd64"; takes OS\/ARCHITECTURE/],
    [[], /missing required argument 'images'/],
  ] as const) {
    const { code, stderr } = await pierhead('warm', ...args, ...dataOf(edge));
    t.equal(code, 2, args.join(' '));
    t.match(stderr, said);
  }
  await edge.stop();
  const { code, stderr } = await pierhead('warm', 'team/many:v1', ...dataOf(edge));
  t.equal(code, 1);
  t.match(stderr, /^pierhead: no edge runs on .*data: start it/);
  await edge.restart();
  await leavesNothing(t, edge);
});

void t.test('whoever stops watching leaves the fills under way to the edge', async (t) => {
  await using central = await startCentral();
  const image = createImage({ layers: [50_000, 50_001, 50_002, 50_003, 50_004], seed: 'watched' });
  central.addImage('team/app', 'v1', image);
  const gate = Promise.withResolvers<void>();
  central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 100, until: gate.promise });
  await using edge = await startBranch(central, { workers: 1 });
  const args = [MAIN, 'warm', 'team/app:v1', ...dataOf(edge)];
  await using watching = await startProcess(process.execPath, args, {
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  await eventually(() => central.requests('GET', 'blob') === 3, { timeoutMs: 30_000 });
  watching.signal('SIGINT');
  await watching.exited;
  gate.resolve();
  const blobs = async (): Promise<number> => {
    const metrics = await edge.metrics();
    return metrics.find('pierhead_warm_blobs_total', { outcome: 'fetched' })[0]?.value ?? 0;
  };
  await eventually(async () => (await blobs()) === 3);
  t.equal(central.requests('GET', 'blob'), 3, 'and no new ones are started');
  await leavesNothing(t, edge);
});

void t.test(
  'a pinned image stays while others have to go, over a restart, and until it is unpinned',
  async (t) => {
    await using central = await startCentral();
    const pinned = createImage({ layers: [300_000, 20_000], seed: 'pinned' });
    central.addImage('team/pinned', 'v1', pinned);
    const crowd = Array.from({ length: 6 }, (_, n) => createImage({ layers: [400_000], seed: `crowd ${n}` }));
    for (const [n, image] of crowd.entries()) central.addImage('team/crowd', `v${n}`, image);
    await using edge = await startBranch(central, { workers: 1, config: { storage: { maxSize: '1MiB' } } });
    t.match(await succeeds(t, cache(edge, 'pin', 'team/pinned:v1')), /complete, 3 fetched .*; pinned\n/);
    for (const n of [0, 1, 2]) await pullAll(edge.http, 'team/crowd', `v${n}`, crowd[n] ?? pinned);
    await edge.restart();
    for (const n of [3, 4, 5]) await pullAll(edge.http, 'team/crowd', `v${n}`, crowd[n] ?? pinned);
    t.match(JSON.parse(await succeeds(t, cache(edge, 'pins', '--json'))), [
      { image: 'central/team/pinned:v1', digest: pinned.digest, missing: 0, moved: false },
    ]);
    const metrics = await edge.metrics();
    t.match(metrics.find('pierhead_pinned_bytes'), [
      { value: pinned.blobs.reduce((sum, { size }) => sum + size, 2 * pinned.manifest.size) },
    ]);
    await eventually(async () => (await edge.metrics()).find('pierhead_evictions_total').length > 0);
    const refused = await cache(edge, 'purge', 'team/pinned:v1');
    t.equal(refused.code, 1);
    t.match(
      refused.stderr,
      /^pierhead: central\/team\/pinned:v1 is pinned: unpin first .*or purge with --force\n$/,
    );
    await central.stop();
    t.same(digestsIn(await pullAll(edge.http, 'team/pinned', 'v1', pinned)), wholeOf(pinned));
    t.match(await succeeds(t, cache(edge, 'unpin', 'team/pinned:v1')), 'central/team/pinned:v1: unpinned\n');
    t.equal((await cache(edge, 'unpin', 'team/pinned:v1')).code, 1, 'it is not pinned any more');
    await succeeds(t, cache(edge, 'purge', 'team/pinned:v1'));
    t.equal((await get(`${edge.http}/v2/team/pinned/manifests/v1`)).status, 503);
    await leavesNothing(t, edge);
  },
);

void t.test('pins of a stopped edge', async (t) => {
  await using central = await startCentral();
  central.addImage('team/many', 'v1', index);
  await using edge = await startBranch(central, { workers: 1 });
  await succeeds(t, pierhead('warm', 'team/many:v1', '--platform', `linux/${OTHER}`, ...dataOf(edge)));
  await edge.stop();
  t.equal(await succeeds(t, cache(edge, 'pin', 'team/many:v1')), 'central/team/many:v1: pinned\n');
  t.match(
    await succeeds(t, cache(edge, 'pins')),
    new RegExp(`central/team/many:v1 +${index.digest.slice(0, 19)} +linux/${OTHER} .* whole\n$`),
  );
  t.match(await succeeds(t, cache(edge, 'ls')), /CHECKED +PINNED\n.* yes\n$/);
  const missing = await cache(edge, 'pin', 'team/many:v1', '--platform', `linux/${HOST}`);
  t.equal(missing.code, 1);
  t.match(missing.stderr, /not in the cache; start the edge and pin again, it fetches what is missing/);
  await edge.restart();
  t.match(JSON.parse(await succeeds(t, cache(edge, 'stats', '--json'))), { pins: 1 });
  await leavesNothing(t, edge);
});

void t.test('a schedule of the configuration fires, fetches and pins', async (t) => {
  await using central = await startCentral();
  central.addImage('team/app', 'v1', host);
  const warm = [{ name: 'often', schedule: '* * * * * *', images: ['team/app:v1'], pin: true }];
  await using edge = await startBranch(central, { workers: 1, config: { warm } });
  const complete = async (): Promise<number> =>
    (await edge.metrics()).find('pierhead_warm_runs_total', { outcome: 'complete' })[0]?.value ?? 0;
  await eventually(async () => (await complete()) >= 2, { timeoutMs: 20_000 });
  t.same(fetched(central), digestsOf(host).sort(), 'once, however often it runs');
  const [success] = (await edge.metrics()).find('pierhead_warm_last_success_timestamp_seconds', {
    schedule: 'often',
  });
  t.ok(Math.abs((success?.value ?? 0) * 1000 - Date.now()) < 60_000);
  t.match(
    edge.logs().find(({ msg }) => msg === 'warm run ended'),
    { schedule: 'often', outcome: 'complete', images: 1, fetchedBlobs: 3 },
  );
  t.match(await succeeds(t, pierhead('check', ...dataOf(edge))), /^ok +warm often +next .*, 1 image$/m);
  await central.stop();
  t.same(digestsIn(await pullAll(edge.http, 'team/app', 'v1', host)), wholeOf(host));
  await leavesNothing(t, edge);
});

function cache(edge: Edge, ...args: string[]): Promise<Finished> {
  return pierhead('cache', ...args, ...dataOf(edge));
}

function pierhead(...args: string[]): Promise<Finished> {
  return runProcess(process.execPath, [MAIN, ...args], { env: { ...process.env, NODE_OPTIONS: '' } });
}

async function succeeds(t: Test, command: Promise<Finished>): Promise<string> {
  const { code, stdout, stderr } = await command;
  t.equal(code, 0, `${stderr}\n${stdout}`);
  return stdout;
}

function dataOf({ dir }: Edge): string[] {
  return ['--config', join(dir, 'pierhead.yaml'), '--data', join(dir, 'data')];
}

function fetched(central: Central): string[] {
  return central
    .find({ method: 'GET', kind: 'blob' })
    .map(({ reference = '' }) => reference)
    .sort();
}
