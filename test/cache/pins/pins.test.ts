import { readFile, rm, writeFile } from 'node:fs/promises';
import t from 'tap';
import { NotStoredError, pinStored } from '../../../src/cache/pins/pin-stored.ts';
import { PinnedError } from '../../../src/cache/pins/pins.ts';
import type { WarmedImage } from '../../../src/cache/warm/warm-job.ts';
import type { ImageReference } from '../../../src/oci/image-reference.ts';
import { parsePlatform, type PlatformChoice } from '../../../src/oci/platform.ts';
import { manifestKey } from '../../../src/store/blob-index.ts';
import { startCentral, type Central } from '../../support/central.ts';
import { eventually } from '../../support/eventually.ts';
import { createImage, createIndex, randomBlob, type ImageFixture } from '../../support/images.ts';
import type { Teardown } from '../../support/temp.ts';
import { bodyOf, CacheSite, digest, readAll, reference, repository } from '../cache-site.ts';

const one = createImage({ layers: [60_000, 8000], seed: 'shared' });
// The first layer is the same.
const two = createImage({ layers: [60_000, 9000], seed: 'shared' });
const shared = one.layers[0];
const arm64 = createImage({
  layers: [30_000],
  seed: 'arm64',
  format: 'oci',
  platform: { os: 'linux', architecture: 'arm64' },
});
const amd64 = createImage({ layers: [31_000], seed: 'amd64', format: 'oci' });
const index = createIndex([amd64, arm64]);

void t.test('what is pinned outlives everything else, also over a restart', async (t) => {
  const central = await centralWith(t, { v1: index });
  const options = { maxBytes: 100_000 };
  const first = await CacheSite.open(t, central, options);
  t.match(await pin(first, 'v1', choice('linux/arm64')), [{ outcome: 'complete', pinned: true }]);
  await crowd(first, central, 1);
  await first.close();
  const second = await CacheSite.open(t, central, { ...options, folder: first.folder });
  await crowd(second, central, 2);
  t.ok(await isWhole(second, arm64), 'each blob of the chosen platform');
  for (const manifest of [index.digest, arm64.digest])
    t.ok(second.index.has(manifestKey(digest(manifest))), 'and the manifests that lead there');
  t.ok(
    second.happened.some((what) => what.startsWith('evicted')),
    'while others had to go',
  );
});

void t.test('a pin holds when the metadata is lost', async (t) => {
  const central = await centralWith(t, { v1: index });
  const first = await CacheSite.open(t, central);
  await pin(first, 'v1', choice('linux/arm64'));
  await first.close();
  await rm(first.layout.meta, { recursive: true });
  await central.stop();
  const second = await CacheSite.open(t, central, { folder: first.folder });
  for (const { digest: blob } of arm64.blobs) await second.index.add(blob as never, 10_000);
  t.same([...second.index.evictable()], []);
  t.match(await second.pins.pins(), [{ image: 'central/team/app:v1', digest: index.digest, missing: 0 }]);
});

void t.test('what two pins share stays until both are gone', async (t) => {
  const central = await centralWith(t, { one, two });
  const site = await CacheSite.open(t, central);
  await pin(site, 'one');
  await pin(site, 'two');
  t.equal(await site.pins.remove(imageOf('one')), true);
  t.equal(await site.pins.remove(imageOf('one')), false);
  t.same(evictable(site), unshared(one));
  t.equal(await site.pins.remove(imageOf('two')), true);
  t.same(evictable(site), [...new Set([...keysOf(one), ...keysOf(two)])].sort());
});

void t.test('a tag that moves takes its pin along when it is warmed, and not before', async (t) => {
  const central = await centralWith(t, { v1: one });
  const site = await CacheSite.open(t, central, { rules: { tag: 0 as never } });
  await pin(site, 'v1');
  central.addImage('team/app', 'v1', two);
  await site.worker().manifest(repository('team/app'), reference('v1'));
  t.match(await site.pins.pins(), [{ digest: one.digest, moved: true, missing: 0 }]);
  t.same(evictable(site), [two.digest], 'what a client pulled is not pinned by that');
  const broken = central.on(
    { kind: 'blob', reference: two.layers[1]?.digest ?? '' },
    { kind: 'corrupt', offset: 1 },
  );
  t.match(await warm(site, 'v1'), [{ outcome: 'failed', pinned: false }]);
  t.match(await site.pins.pins(), [{ digest: one.digest }], 'the old one, until the new one is whole');
  broken.remove();
  t.match(await warm(site, 'v1'), [{ outcome: 'complete', pinned: true }]);
  t.match(await site.pins.pins(), [{ digest: two.digest, moved: false, missing: 0 }]);
  t.same(evictable(site), unshared(one));
});

void t.test('a pinned image that is warmed for another platform stays pinned for its own', async (t) => {
  const central = await centralWith(t, { v1: index });
  const site = await CacheSite.open(t, central);
  await pin(site, 'v1', choice('linux/arm64'));
  await warm(site, 'v1', choice('linux/amd64'));
  t.match(await site.pins.pins(), [{ platforms: 'linux/amd64, linux/arm64' }]);
  t.same(evictable(site), []);
});

void t.test('without a word about platforms, those that somebody pulled are pinned', async (t) => {
  const central = await centralWith(t, { v1: index });
  const site = await CacheSite.open(t, central);
  await warm(site, 'v1', choice('linux/arm64'));
  t.match(await pin(site, 'v1'), [{ platforms: 'linux/arm64', fetchedBlobs: 0 }]);
  const other = await CacheSite.open(t, central);
  t.match(await pin(other, 'v1'), [{ platforms: 'linux/amd64', fetchedBlobs: 2 }], "or else this host's");
});

void t.test('a large image does not push out its own beginning while it is pinned', async (t) => {
  const layers = [10_000, 20_000, 30_000, 20_001, 10_001];
  const image = createImage({ layers });
  const central = await centralWith(t, { v1: image });
  const site = await CacheSite.open(t, central, { maxBytes: 75_000 });
  // More than the limit by a third: what is pinned goes over it, and says so by its bytes.
  t.match(await pin(site, 'v1'), [{ outcome: 'complete', pinned: true }]);
  t.ok(await isWhole(site, image));
  t.ok(site.index.pinnedBytes > 75_000);
  const other = central.addBlob('team/other', randomBlob(20_000, 'other'));
  const { content, error } = await readAll(await bodyOf(site.worker(), 'team/other', other.digest));
  t.equal(error, undefined);
  t.ok(content.equals(other.bytes), 'pulls go on');
  await eventually(async () => !(await site.stored(digest(other.digest))), {
    what: 'but nothing else is kept',
  });
  t.ok(await isWhole(site, image));
});

void t.test('a purge spares what is pinned, unless it is forced', async (t) => {
  const central = await centralWith(t, { one, two });
  const site = await CacheSite.open(t, central);
  await pin(site, 'one');
  await warm(site, 'two');
  const tag = { kind: 'tag', repository: repository('team/app'), tag: reference('one') } as never;
  const selectors = [{ kind: 'all' }, { kind: 'repository', repository: repository('team/app') }] as const;
  const before = site.index.count;
  for (const selector of [...selectors, { ...(tag as object), tag: 'one' } as never])
    await t.rejects(site.inventory.purge(selector), PinnedError);
  t.equal(site.index.count, before, 'nothing is gone');
  const other = { kind: 'tag', repository: repository('team/app'), tag: 'two' } as never;
  t.match(await site.inventory.purge(other), { tags: 1, manifests: 1, blobs: 2 }, 'another image may go');
  t.ok(await isWhole(site, one));
  t.match(await site.inventory.purge({ kind: 'all' }, true), { tags: 1, manifests: 1, blobs: 3 });
  t.same(await site.pins.pins(), []);
});

void t.test('a digest that is pinned stays when its tag is purged', async (t) => {
  const central = await centralWith(t, { one });
  const site = await CacheSite.open(t, central);
  await pin(site, one.digest);
  await warm(site, 'one');
  const tag = { kind: 'tag', repository: repository('team/app'), tag: 'one' } as never;
  t.match(await site.inventory.purge(tag), { tags: 1, manifests: 0, blobs: 0 });
  t.match(await site.pins.pins(), [{ image: `central/team/app@${one.digest}`, missing: 0 }]);
  t.ok(await isWhole(site, one));
});

void t.test('the inventory shows what is pinned', async (t) => {
  const central = await centralWith(t, { one, two: arm64 });
  const site = await CacheSite.open(t, central);
  await pin(site, 'one');
  await warm(site, 'two');
  t.match(await site.inventory.images(), [
    { tag: 'one', pinned: true },
    { tag: 'two', pinned: false },
  ]);
  const pinnedBytes = one.blobs.reduce((sum, { size }) => sum + size, 2 * one.manifest.size);
  t.match(await site.inventory.stats(), { pins: 1, pinnedBytes });
});

void t.test('a pin whose content was lost says so', async (t) => {
  const central = await centralWith(t, { one });
  const site = await CacheSite.open(t, central);
  await pin(site, 'one');
  await writeFile(site.layout.blob(digest(shared?.digest ?? '')), 'not it');
  await site.blobs.verify(digest(shared?.digest ?? ''));
  t.match(await site.pins.pins(), [{ missing: 1 }]);
  t.match(await warm(site, 'one'), [{ outcome: 'complete', fetchedBlobs: 1 }]);
  t.match(await site.pins.pins(), [{ missing: 0 }]);
});

void t.test('without an edge, what is whole is pinned, and what is not says what to do', async (t) => {
  const central = await centralWith(t, { one, v1: index });
  const site = await CacheSite.open(t, central);
  await warm(site, 'one');
  await warm(site, 'v1', choice('linux/arm64'));
  central.forget();
  const parts = {
    pins: site.pins,
    shelf: { manifests: site.manifests, index: site.index },
    metadata: site.store,
    host: { os: 'linux', architecture: 'amd64' },
  };
  await pinStored(parts, imageOf('one'), undefined);
  await pinStored(parts, imageOf(index.digest), undefined);
  t.match(await site.pins.pins(), [
    { image: 'central/team/app:one', missing: 0 },
    { image: `central/team/app@${index.digest}`, platforms: 'linux/arm64', missing: 0 },
  ]);
  await t.rejects(pinStored(parts, imageOf('v1'), choice('linux/amd64')), NotStoredError);
  await t.rejects(
    pinStored(parts, imageOf('nope'), undefined),
    /nothing of it is in the cache; start the edge/,
  );
  await site.inventory.purge({ kind: 'all' }, true);
  await warm(site, 'one');
  await site.files.remove(digest(shared?.digest ?? ''));
  await site.index.remove(shared?.digest as never);
  await t.rejects(
    pinStored(parts, imageOf('one'), undefined),
    /1 of its 4 objects are not in the cache; start the edge/,
  );
});

void t.test('a list of pins that cannot be read is set aside', async (t) => {
  const central = await centralWith(t, { one });
  const first = await CacheSite.open(t, central);
  await pin(first, 'one');
  await first.close();
  const good = await readFile(first.layout.pins, 'utf8');
  for (const bad of [
    '',
    '{',
    '[]',
    '{"pins":[{}]}',
    good.replace('team/app', '../../etc'),
    good.replace('sha256', 'md5'),
  ]) {
    await writeFile(first.layout.pins, bad);
    const site = await CacheSite.open(t, central, { folder: first.folder });
    t.same(await site.pins.pins(), [], bad);
    const [setAside] = site.happened;
    t.match(setAside, /^pins set aside .*quarantine\/pins-\d+\.json$/);
    t.equal(await readFile(setAside?.slice('pins set aside '.length) ?? '', 'utf8'), bad);
    await site.close();
  }
  await writeFile(first.layout.pins, good);
  const site = await CacheSite.open(t, central, { folder: first.folder });
  t.match(await site.pins.pins(), [{ image: 'central/team/app:one' }]);
});

async function centralWith(t: Teardown, images: Readonly<Record<string, ImageFixture>>): Promise<Central> {
  const central = await startCentral();
  t.teardown(() => central.stop());
  for (const [tag, image] of Object.entries(images)) central.addImage('team/app', tag, image);
  return central;
}

/** Other content than fits, through a client's pulls. */
async function crowd(site: CacheSite, central: Central, seed: number): Promise<void> {
  for (let n = 0; n < 5; n += 1) {
    const blob = central.addBlob('team/crowd', randomBlob(30_000, `crowd ${seed} ${n}`));
    await readAll(await bodyOf(site.worker(), 'team/crowd', blob.digest));
    await eventually(() => site.blobs.fillsRunning === 0);
    await site.evictor.settle();
  }
}

function imageOf(text: string): ImageReference {
  return { repository: repository('team/app'), reference: reference(text) };
}

function pin(site: CacheSite, tag: string, platforms?: PlatformChoice): Promise<WarmedImage[]> {
  return site.warmer.warm({ images: [imageOf(tag)], platforms, pin: true }, () => undefined);
}

function warm(site: CacheSite, tag: string, platforms?: PlatformChoice): Promise<WarmedImage[]> {
  return site.warmer.warm({ images: [imageOf(tag)], platforms, pin: false }, () => undefined);
}

function choice(...texts: string[]): PlatformChoice {
  return texts.map(parsePlatform).filter((platform) => platform !== undefined);
}

async function isWhole(site: CacheSite, image: ImageFixture): Promise<boolean> {
  const stored = await Promise.all(image.blobs.map((blob) => site.stored(digest(blob.digest))));
  return stored.every(Boolean);
}

/** Digests of all that would go if there were no room at all. */
function evictable(site: CacheSite): string[] {
  return Array.from(site.index.evictable(), ([, stored]) => stored.digest as string).sort();
}

function keysOf(image: ImageFixture): string[] {
  return [image.digest, ...image.blobs.map((blob) => blob.digest)];
}

function unshared(image: ImageFixture): string[] {
  return keysOf(image)
    .filter((key) => key !== shared?.digest)
    .sort();
}
