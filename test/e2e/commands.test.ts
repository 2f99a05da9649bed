import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startCentral, type Central } from '../support/central.ts';
import { get } from '../support/clients.ts';
import type { Edge } from '../support/edge.ts';
import { createImage } from '../support/images.ts';
import { runProcess, type Finished } from '../support/processes.ts';
import { tempFolder } from '../support/temp.ts';
import {
  cacheStatusOf,
  digestsIn,
  digestsOf,
  leavesNothing,
  pullAll,
  startBranch,
  wholeOf,
} from './branch.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');

const one = createImage({ layers: [200_000, 30_000] });
// The first layer is the same: it is made of the same size and seed.
const two = createImage({ layers: [200_000, 40_000] });
const [shared] = two.layers;

const PURGED_ONE = /central\/library\/one:latest: 1 tags, 1 manifests, 2 blobs/;
const OTHER_LISTENERS = ['--http', '127.0.0.1:0', '--https', 'off', '--admin', 'off'];

void t.test('cache ls, stats and purge of a running edge', async (t) => {
  await using central = await startCentral();
  await using edge = await startFilled(central, 2);
  const list = await succeeds(t, cache(edge, 'ls'));
  t.match(list, /^REPOSITORY +TAG +DIGEST/);
  t.match(list, new RegExp(`central/library/one +latest +${one.digest.slice(0, 19)}`));
  t.match(list, new RegExp(`central/library/two +v2 +${two.digest.slice(0, 19)}`));
  t.match(await succeeds(t, cache(edge, 'stats')), /^stored .* of 50\.0 GiB/);
  t.match(await succeeds(t, cache(edge, 'purge', 'library/one:latest')), PURGED_ONE);
  t.notMatch(await succeeds(t, cache(edge, 'ls')), /library\/one/);
  await central.stop();
  await onlyTwoIsLeft(t, edge);
  t.match(await succeeds(t, cache(edge, 'purge', '--all')), /^everything: 1 tags, 1 manifests, 3 blobs/);
  t.equal((await get(`${edge.http}/v2/library/two/manifests/v2`)).status, 503);
  t.equal((await cache(edge, 'purge')).code, 2, 'a purge of nothing in particular');
  await leavesNothing(t, edge);
});

void t.test('cache ls, stats and purge of a stopped edge', async (t) => {
  await using central = await startCentral();
  await using edge = await startFilled(central, 1);
  await edge.stop();
  t.match(JSON.parse(await succeeds(t, cache(edge, 'ls', 'library/two', '--json'))), [
    { upstream: 'central', repository: 'library/two', tag: 'v2', digest: two.digest, bytes: blobBytes(two) },
  ]);
  const blobs = new Set([...digestsOf(one), ...digestsOf(two)]).size;
  const stats = { objects: blobs + 2, tags: 2, manifests: 2 };
  t.match(JSON.parse(await succeeds(t, cache(edge, 'stats', '--json'))), stats);
  t.match(await succeeds(t, cache(edge, 'purge', 'library/one:latest')), PURGED_ONE);
  await central.stop();
  await edge.restart();
  await onlyTwoIsLeft(t, edge);
  await leavesNothing(t, edge);
});

void t.test('check tells what works and what does not', async (t) => {
  await using central = await startCentral();
  await using edge = await startBranch(central, { workers: 1 });
  const check = (): Promise<Finished> => pierhead('check', ...dataOf(edge), ...listenersOf(edge));
  const report = await succeeds(t, check());
  t.match(report, /^ok {4}configuration/m);
  t.match(report, /^(ok|warn) +storage\.path .*an edge runs on it/m);
  t.match(report, /^ok +tls .*certs\/server\.crt for .*localhost.* days left/m);
  t.match(report, /^ok +listen\.http .*: taken, by the edge that runs/m);
  t.match(report, /^ok +upstream central .* answers/m);
  await central.stop();
  t.match(await succeeds(t, check()), /^warn +upstream central .*the edge starts without it/m);

  const elsewhere = await pierhead(
    'check',
    '--data',
    tempFolder(t),
    ...listenersOf(edge),
    '--upstream',
    central.url,
  );
  t.equal(elsewhere.code, 1);
  t.match(elsewhere.stdout, /^fail +listen\.http .*EADDRINUSE.*choose another port/m);
  t.equal((await pierhead('check', '--config', join(edge.dir, 'absent.yaml'))).code, 2);
  await leavesNothing(t, edge);
});

void t.test('two edges cannot have one storage folder', async (t) => {
  await using central = await startCentral();
  central.addImage('library/one', 'latest', one);
  await using edge = await startBranch(central, { workers: 2 });
  const second = await pierhead('serve', ...dataOf(edge), ...OTHER_LISTENERS);
  t.equal(second.code, 1);
  t.match(second.stderr, /^pierhead: storage\.path .*: another edge runs on this storage folder; give each/);
  t.same(digestsIn(await pullAll(edge.http, 'library/one', 'latest', one)), wholeOf(one));
  t.match(await succeeds(t, pierhead('cache', 'ls', '--data', join(edge.dir, 'data'))), /library\/one/);
  await leavesNothing(t, edge);
});

/** An edge that both images were pulled through. */
async function startFilled(central: Central, workers: number): Promise<Edge> {
  central.addImage('library/one', 'latest', one);
  central.addImage('library/two', 'v2', two);
  const edge = await startBranch(central, { workers });
  await pullAll(edge.http, 'library/one', 'latest', one);
  await pullAll(edge.http, 'library/two', 'v2', two);
  return edge;
}

/** With the central down: the other image is whole, with the layer that both had, and the purged one is gone. */
async function onlyTwoIsLeft(t: Test, edge: Edge): Promise<void> {
  const answers = await pullAll(edge.http, 'library/two', 'v2', two);
  t.same(digestsIn(answers), wholeOf(two));
  for (const answer of answers) t.equal(cacheStatusOf(answer), 'pierhead; hit');
  const base = `${edge.http}/v2/library/one`;
  t.equal((await get(`${base}/manifests/latest`)).status, 503);
  t.equal((await get(`${base}/manifests/${one.digest}`)).status, 503);
  for (const digest of digestsOf(one).filter((digest) => digest !== shared?.digest))
    t.equal((await get(`${base}/blobs/${digest}`)).status, 404);
}

function cache(edge: Edge, ...args: string[]): Promise<Finished> {
  return pierhead('cache', ...args, ...dataOf(edge));
}

function pierhead(...args: string[]): Promise<Finished> {
  return runProcess(process.execPath, [MAIN, ...args], { env: { ...process.env, NODE_OPTIONS: '' } });
}

async function succeeds(t: Test, command: Promise<Finished>): Promise<string> {
  const { code, stdout, stderr } = await command;
  t.equal(code, 0, stderr);
  return stdout;
}

function dataOf({ dir }: Edge): string[] {
  return ['--config', join(dir, 'pierhead.yaml'), '--data', join(dir, 'data')];
}

function listenersOf(edge: Edge): string[] {
  return (['http', 'https', 'admin'] as const).flatMap((name) => [`--${name}`, new URL(edge[name]).host]);
}

function blobBytes(image: typeof one): number {
  return image.blobs.reduce((total, { size }) => total + size, 0);
}
