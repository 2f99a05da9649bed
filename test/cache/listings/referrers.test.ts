import t from 'tap';
import { eventually } from '../../support/eventually.ts';
import { createImage, createIndex } from '../../support/images.ts';
import { APP, entriesOf, image, scene, settled, type Scene } from './scene.ts';
import { digest, reference } from '../cache-site.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const attached = (artifactType: string): ReturnType<typeof createImage> =>
  createImage({ layers: [3000], seed: artifactType, format: 'oci', subject: image, artifactType });
const signature = attached('a/signature');
const sbom = attached('a/sbom');
const NOBODY = `sha256:${'0'.repeat(64)}`;

function attach({ central }: Scene): void {
  for (const referrer of [signature, sbom]) central.addImage('team/app', undefined, referrer);
}

function digestsIn(entries: unknown): unknown[] {
  return (entries as { digest: string }[]).map(({ digest }) => digest);
}

/** As a client keeps them in a registry without the API. */
function attachUnderTag({ central }: Scene, tag = `sha256-${image.digest.slice(7)}`): void {
  attach({ central } as Scene);
  const manifests = [signature, sbom].map(({ manifest, artifactType }) => ({
    ...manifest.descriptor,
    artifactType,
  }));
  const content = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests });
  central.addManifest('team/app', tag, content, INDEX);
}

void t.test('referrers, all of them and by type; filtered by the upstream', async (t) => {
  const view = await scene(t);
  attach(view);
  t.same(digestsIn(entriesOf(await view.referrers(image.digest))), [signature.digest, sbom.digest]);
  t.same(digestsIn(entriesOf(await view.referrers(image.digest, 'a/sbom'))), [sbom.digest]);
  t.equal(view.central.log.at(-1)?.query.get('artifactType'), 'a/sbom');
  t.same(entriesOf(await view.referrers(NOBODY)), []);
  view.central.forget();
  t.match(await view.referrers(image.digest, 'a/sbom'), { result: 'hit' });
  t.equal(view.central.requests(), 0);
});

void t.test('filtered here when the upstream does not', async (t) => {
  const view = await scene(t);
  attach(view);
  const manifests = [signature, sbom].map(({ manifest, artifactType }) => ({
    ...manifest.descriptor,
    artifactType,
  }));
  const content = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));
  view.central.on({ kind: 'referrers' }, { kind: 'swap', content, mediaType: INDEX });
  view.central.on({ kind: 'referrers' }, { kind: 'headers', headers: { 'oci-filters-applied': undefined } });
  t.same(digestsIn(entriesOf(await view.referrers(image.digest, 'a/signature'))), [signature.digest]);
  t.same(entriesOf(await view.referrers(image.digest, 'a/none')), []);
});

for (const [what, fault] of [
  ['404', { kind: 'status', status: 404, body: '404 page not found' }],
  ['405', { kind: 'status', status: 405 }],
  ['400', { kind: 'status', status: 400 }],
  ['a page for people', { kind: 'status', status: 200, body: '<html>' }],
] as const) {
  void t.test(`an upstream without the API (${what}): the tag that stands in for it`, async (t) => {
    const view = await scene(t);
    view.central.on({ kind: 'referrers' }, fault);
    const none = await view.referrers(image.digest);
    t.match(none, { kind: 'listing', result: 'miss', next: undefined });
    t.same(entriesOf(none), [], 'nobody has attached anything');
    attachUnderTag(view);
    await view.clock.advance(61_000);
    t.same(digestsIn(entriesOf(await view.referrers(image.digest))), [signature.digest, sbom.digest]);
    t.same(digestsIn(entriesOf(await view.referrers(image.digest, 'a/sbom'))), [sbom.digest]);
    view.central.forget();
    t.match(await view.referrers(image.digest), { result: 'hit' });
    t.equal(view.central.requests(), 0);
  });
}

void t.test(
  'the tag of a longer digest is cut as the spec has it; an image under it says nothing',
  async (t) => {
    const view = await scene(t);
    view.central.on({ kind: 'referrers' }, { kind: 'status', status: 404 });
    const long = `sha512:${'c'.repeat(128)}`;
    attachUnderTag(view, `sha512-${'c'.repeat(64)}`);
    t.equal(digestsIn(entriesOf(await view.referrers(long))).length, 2);
    view.central.addImage('team/app', `sha256-${image.digest.slice(7)}`, sbom);
    t.same(entriesOf(await view.referrers(image.digest)), []);
  },
);

void t.test(
  'clients that push through here learn that there is no API: the tag is theirs to keep',
  async (t) => {
    const view = await scene(t, { pushed: true });
    attachUnderTag(view);
    view.central.on({ kind: 'referrers' }, { kind: 'status', status: 404 });
    t.same(await view.referrers(image.digest), { kind: 'unknown' });
    t.same(await view.referrers(NOBODY), { kind: 'unknown' });
  },
);

for (const status of [401, 403]) {
  void t.test(`a ${status} is no lack of an API`, async (t) => {
    const view = await scene(t);
    attachUnderTag(view);
    view.central.on({ kind: 'referrers' }, { kind: 'status', status });
    t.same(await view.referrers(image.digest), { kind: 'unknown' });
    t.equal(view.central.requests(undefined, 'manifest'), 0);
  });
}

void t.test('an index that lists itself, and one that is none', async (t) => {
  const view = await scene(t);
  const self = JSON.stringify({ manifests: [image.manifest.descriptor, sbom.manifest.descriptor] });
  view.central.on(
    { kind: 'referrers' },
    { kind: 'swap', content: Buffer.from(self), mediaType: INDEX, times: 1 },
  );
  t.same(digestsIn(entriesOf(await view.referrers(image.digest))), [sbom.digest]);
  await view.clock.advance(61_000);
  const bad = JSON.stringify({ manifests: [{ digest: 'sha256:x' }] });
  view.central.on({ kind: 'referrers' }, { kind: 'swap', content: Buffer.from(bad), mediaType: INDEX });
  t.match(await view.referrers(NOBODY), { kind: 'invalid', reason: /descriptor/ });
  t.match(await view.referrers(image.digest), { kind: 'listing', result: 'stale' });
  const huge = Buffer.alloc(5 * 1024 * 1024, ' ');
  view.central.on({ kind: 'referrers' }, { kind: 'swap', content: huge, mediaType: INDEX });
  t.match(await view.referrers(NOBODY), { kind: 'invalid', reason: /over 4194304 bytes/ });
});

void t.test('pages, each filtered', async (t) => {
  const view = await scene(t);
  attach(view);
  const link = `<https://elsewhere.corp/v2/x?artifactType=a%2Fsbom&token=2>; rel="next"`;
  view.central.on({ kind: 'referrers' }, { kind: 'headers', headers: { link }, times: 1 });
  const first = await view.referrers(image.digest, 'a/sbom');
  t.match(first, { next: { cursor: 'token=2' } });
  if (first.kind !== 'listing' || first.next === undefined) return;
  await view.worker.referrers(APP, digest(image.digest), 'a/sbom', first.next);
  t.same(Object.fromEntries(view.central.log.at(-1)?.query ?? []), { token: '2', artifactType: 'a/sbom' });
});

void t.test('away: what was kept, else the tag that was pulled, else a clear no', async (t) => {
  const view = await scene(t);
  attach(view);
  await view.referrers(image.digest);
  view.central.on({}, { kind: 'cut' });
  await view.clock.advance(61_000);
  t.match(await settled(view.clock, view.referrers(image.digest)), { kind: 'listing', result: 'stale' });
  t.match(await settled(view.clock, view.referrers(NOBODY)), { kind: 'unavailable' });
});

void t.test('a silent upstream: refused after ten seconds, whatever is looked up besides', async (t) => {
  const view = await scene(t);
  view.central.on({}, { kind: 'stall' });
  const asked = view.referrers(image.digest);
  await eventually(() => view.central.requests() === 1);
  await view.clock.advance(10_000);
  t.match(await asked, { kind: 'unavailable', reason: /in time/ });
});

void t.test('away, with the tag here', async (t) => {
  const view = await scene(t);
  attachUnderTag(view);
  await view.worker.manifest(APP, reference(`sha256-${image.digest.slice(7)}`));
  view.central.on({}, { kind: 'cut' });
  const shown = await settled(view.clock, view.referrers(image.digest));
  t.match(shown, { kind: 'listing', result: 'stale' });
  t.equal(digestsIn(entriesOf(shown)).length, 2);
  t.match(
    await settled(view.clock, view.referrers(image.digest)),
    { result: 'stale' },
    'not taken for fresh',
  );
});

void t.test('an index as referrer', async (t) => {
  const view = await scene(t);
  const index = createIndex([sbom]);
  const content = Buffer.from(JSON.stringify({ manifests: [index.manifest.descriptor] }));
  view.central.on({ kind: 'referrers' }, { kind: 'swap', content, mediaType: `${INDEX}; charset=utf-8` });
  t.same(digestsIn(entriesOf(await view.referrers(image.digest))), [index.digest]);
});
