import type { Test } from 'tap';
import type { FillProgress, Keeper, KeeperEvent } from '../../src/cache/keeper.ts';
import type { KeeperCore } from '../../src/cache/keeper-core.ts';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import { FIRST_PAGE } from '../../src/oci/page.ts';
import { parseReference, type Reference } from '../../src/oci/reference.ts';
import { parseRepositoryName } from '../../src/oci/repository-name.ts';
import type { RepositoryRef } from '../../src/oci/repository-ref.ts';
import { blobKey } from '../../src/store/blob-index.ts';
import { eventually } from '../support/eventually.ts';
import { createImage, randomBlob } from '../support/images.ts';
import { openKeeper } from './fixture.ts';

/** A way to reach the core's keeper; its events go to `listener`. */
export type Connect = (core: KeeperCore, listener: (event: KeeperEvent) => void) => Keeper;

/** What a worker may rely on, whichever way it reaches the keeper. */
export async function keeperConformance(t: Test, connect: Connect): Promise<void> {
  const { keeper: edgeKeeper, central } = await openKeeper(t);
  const events: KeeperEvent[] = [];
  const keeper = connect(edgeKeeper.core, (event) => events.push(event));
  const image = createImage({ layers: [70_000] });
  central.addImage('library/app', 'latest', image);
  central.addImage('library/app', 'other', createImage({ layers: [3000], seed: 'other' }));
  const repository = repositoryRef('library/app');
  t.afterEach(() => {
    central.heal();
    central.forget();
  });

  await t.test('a manifest: fetched once, then here; bytes, type and digest as they are', async (t) => {
    const expected = { kind: 'manifest', digest: image.digest, mediaType: image.manifest.mediaType };
    for (const [reference, result] of [
      ['latest', 'miss'],
      [image.digest, 'hit'],
    ] as const) {
      const answer = await keeper.manifest({ repository, reference: referenceOf(reference) });
      t.match(answer, { ...expected, result });
      if (answer.kind === 'manifest') t.ok(image.manifest.bytes.equals(answer.content));
    }
    t.equal(central.requests(), 1);
  });

  await t.test('what is not there and what is wrong are answers', async (t) => {
    const ask = (tag: string) => keeper.manifest({ repository, reference: referenceOf(tag) });
    t.same(await ask('absent'), { kind: 'unknown' });
    central.addManifest('library/app', 'junk', 'no JSON', image.manifest.mediaType);
    t.match(await ask('junk'), { kind: 'invalid', reason: String });
    t.same(await keeper.blobSize({ repository, digest: absentDigest() }), { kind: 'unknown' });
    t.same(await keeper.blob({ repository, digest: absentDigest() }), { kind: 'unknown' });
  });

  await t.test('a blob: one fill, joined by those who come later, told to its end', async (t) => {
    const [layer] = image.layers;
    const question = { repository, digest: layer?.digest ?? absentDigest() };
    t.same(await keeper.blobSize(question), { kind: 'size', size: 70_000, stored: false });
    const gate = Promise.withResolvers<void>();
    central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 1000, until: gate.promise });
    const first = await keeper.blob(question);
    t.match(first, { kind: 'fill', joined: false, fill: { size: 70_000, state: { kind: 'running' } } });
    const second = await keeper.blob(question);
    t.match(second, { kind: 'fill', joined: true, fill: { fillId: fillOf(first)?.fillId } });
    gate.resolve();
    const told = (): FillProgress[] =>
      events.flatMap((event) => (event.kind === 'fill' ? [event.progress] : []));
    const last = await eventually(() => told().find(({ state }) => state.kind === 'done'));
    t.match(last, { fillId: fillOf(first)?.fillId, size: 70_000, available: 70_000 });
    // The last piece is shown as soon as the digest is right; the disk may take a moment longer.
    await eventually(async () => (await keeper.blob(question)).kind === 'stored');
    t.same(await keeper.blobSize(question), { kind: 'size', size: 70_000, stored: true });
    t.equal(central.requests('GET', 'blob'), 1);
    t.equal(keeper.touch([blobKey(question.digest)]), undefined);
  });

  await t.test('a listing', async (t) => {
    const page = { ...FIRST_PAGE, n: 1 };
    const answer = await keeper.listing({ kind: 'tags', repository, page });
    t.match(answer, { kind: 'listing', result: 'miss', next: { ...page, last: 'junk' } });
    if (answer.kind === 'listing') t.same(JSON.parse(Buffer.from(answer.entries).toString()), ['junk']);
    const none = repositoryRef('library/none');
    t.same(await keeper.listing({ kind: 'tags', repository: none, page }), { kind: 'unknown' });
    const question = { repository, digest: absentDigest(), artifactType: undefined, page: FIRST_PAGE };
    const referrers = await keeper.listing({ kind: 'referrers', ...question });
    t.match(referrers, { kind: 'listing', next: undefined });
    const catalog = await keeper.listing({ kind: 'catalog', upstream: 'docker.io', page: FIRST_PAGE });
    t.match(catalog, { kind: 'listing', next: undefined });
  });

  await t.test('what was pushed is asked about anew', async (t) => {
    const ask = (text: string) => keeper.manifest({ repository, reference: referenceOf(text) });
    const push = (text: string, gone: boolean) =>
      keeper.pushed({ kind: 'manifest', repository, references: [referenceOf(text)], gone });
    await ask('latest');
    const moved = createImage({ layers: [4000], seed: 'moved' });
    t.same(await ask('new'), { kind: 'unknown' });
    t.same(await ask(moved.digest), { kind: 'unknown' });
    central.addImage('library/app', 'latest', moved);
    central.addImage('library/app', 'new', moved);
    t.match(await ask('latest'), { digest: image.digest, result: 'hit' }, 'not known to have moved');
    t.same(await ask('new'), { kind: 'unknown' }, 'known not to be there');
    for (const text of ['latest', 'new', moved.digest]) t.equal(await push(text, false), undefined);
    t.match(await ask('latest'), { kind: 'manifest', digest: moved.digest, result: 'miss' });
    t.match(await ask('new'), { kind: 'manifest', digest: moved.digest });
    t.match(await ask(moved.digest), { kind: 'manifest', digest: moved.digest, result: 'hit' });

    central.contents.remove('library/app', image.digest);
    t.match(await ask(image.digest), { kind: 'manifest', result: 'hit' });
    await push(image.digest, true);
    t.same(await ask(image.digest), { kind: 'unknown' });
    central.addImage('library/app', undefined, image);
  });

  await t.test('a blob that was pushed or deleted is asked about anew', async (t) => {
    const blob = randomBlob(500, 'pushed');
    const question = { repository, digest: blob.digest };
    t.same(await keeper.blobSize(question), { kind: 'unknown' });
    central.addBlob('library/app', blob);
    t.same(await keeper.blobSize(question), { kind: 'unknown' }, 'known not to be there');
    await keeper.pushed({ kind: 'blob', ...question, gone: false });
    t.match(await keeper.blobSize(question), { kind: 'size', size: 500 });
    await keeper.blob(question);
    await eventually(async () => (await keeper.blob(question)).kind === 'stored');
    central.contents.remove('library/app', blob.digest);
    t.match(await keeper.blob(question), { kind: 'stored' });
    await keeper.pushed({ kind: 'blob', ...question, gone: true });
    t.same(await keeper.blob(question), { kind: 'unknown' });
  });

  await t.test('what callers have used is told to the other workers', async (t) => {
    const heard: KeeperEvent[] = [];
    const other = edgeKeeper.core.connect((event) => heard.push(event));
    const usage = [['10.0.0.1', 12]] as const;
    t.equal(keeper.used(usage), undefined);
    t.same(await eventually(() => heard.find(({ kind }) => kind === 'usage')), {
      kind: 'usage',
      usage,
      by: 'workers',
    });
    other.close();
  });

  await t.test('a bypass that there is not', async (t) => {
    t.equal(await keeper.openBypass({ fillId: 12_345, restOnly: true }), undefined);
    await t.rejects(keeper.readBypass(12_345), { message: 'no such bypass' });
    t.equal(keeper.closeBypass(12_345), undefined, 'no harm');
  });

  await t.test('many questions at once: to each its own answer', async (t) => {
    const blobs = Array.from({ length: 20 }, (_, n) =>
      central.addBlob('library/app', randomBlob(1000 + n, n)),
    );
    const sizes = await Promise.all(blobs.map(({ digest }) => keeper.blobSize({ repository, digest })));
    t.same(
      sizes,
      blobs.map(({ size }) => ({ kind: 'size', size, stored: false })),
    );
  });

  // The last one: the upstream is not asked again for a while after it.
  await t.test('what cannot be had is an answer', async (t) => {
    central.on({}, { kind: 'status', status: 503 });
    const reference = referenceOf('other');
    t.match(await keeper.manifest({ repository, reference }), { kind: 'unavailable', reason: String });
    const digest = absentDigest();
    const blob = { repository: repositoryRef('library/more'), digest };
    t.match(await keeper.blob(blob), { kind: 'unavailable', reason: String });
    t.match(await keeper.blobSize(blob), { kind: 'unavailable', reason: String });
    const list = { kind: 'tags', repository: blob.repository, page: FIRST_PAGE } as const;
    t.match(await keeper.listing(list), { kind: 'unavailable', reason: String });
  });
}

function fillOf(answer: Awaited<ReturnType<Keeper['blob']>>): FillProgress | undefined {
  return answer.kind === 'fill' ? answer.fill : undefined;
}

function repositoryRef(text: string): RepositoryRef {
  return { upstream: 'docker.io', name: parsed(parseRepositoryName(text)) };
}

function referenceOf(text: string): Reference {
  return parsed(parseReference(text));
}

function absentDigest(): Digest {
  return parsed(parseDigest(`sha256:${'0'.repeat(64)}`));
}

function parsed<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the test itself is wrong');
  return value;
}
