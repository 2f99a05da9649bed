import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { createImage, createIndex } from '../support/images.ts';

const OCI = 'application/vnd.oci.image';
const MANIFEST = `${OCI}.manifest.v1+json`;
const INDEX = `${OCI}.index.v1+json`;
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';
const SCHEMA_1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws';

const central = await startCentral();
t.teardown(() => central.stop());
const good = createImage({ layers: [3000], format: 'oci' });
const index = createIndex([good]);
central.addImage('app', 'image', good);
central.addImage('app', 'index', index);
const edge = await startEdge({
  config: {
    upstreams: [{ name: 'central', url: central.url, default: true }],
    freshness: { negative: '0s' },
  },
});
t.teardown(() => edge.remove());

const descriptor = good.layers[0]?.descriptor;
const image = {
  schemaVersion: 2,
  mediaType: MANIFEST,
  config: good.blobs[0]?.descriptor,
  layers: [descriptor],
};
const children = [good.manifest.descriptor];
const list = { schemaVersion: 2, mediaType: INDEX, manifests: children };
const without = ({ mediaType: _, ...rest }: typeof image): object => rest;

type Case = readonly [what: string, document: object | string, contentType: string];

const CONFUSED: readonly Case[] = [
  ['an image with children', { ...image, manifests: children }, MANIFEST],
  ['an image with no children', { ...image, manifests: [] }, MANIFEST],
  ['an index with layers', { ...list, layers: [descriptor] }, INDEX],
  ['an index with a config', { ...list, config: descriptor }, INDEX],
  ['an index with blobs', { ...list, blobs: [descriptor] }, INDEX],
  ['an image that is sent as an index', without(image), INDEX],
  ['an index that is sent as an image', { schemaVersion: 2, manifests: children }, MANIFEST],
  ['an image that says that it is an index', { ...image, mediaType: INDEX }, MANIFEST],
  ['an image that is sent as one of docker', image, DOCKER],
  ['a type of another kind of thing', { ...image, mediaType: `${OCI}.config.v1+json` }, 'application/json'],
  ['schema 1', { schemaVersion: 1, name: 'app', fsLayers: [] }, SCHEMA_1],
  ['schema 1 under the type of schema 2', { schemaVersion: 1, fsLayers: [] }, DOCKER],
  ['schema 1 within schema 2', { ...image, fsLayers: [{ blobSum: good.digest }] }, MANIFEST],
  // Go takes these for the names that they look like.
  ['Manifests', { ...image, Manifests: children }, MANIFEST],
  ['MANIFESTS', { ...image, MANIFESTS: children }, MANIFEST],
  ['manifeſts', { ...image, manifeſts: children }, MANIFEST],
  ['Layers', { ...list, Layers: [descriptor] }, INDEX],
  ['layerſ', { ...list, layerſ: [descriptor] }, INDEX],
  ['Config', { ...list, Config: descriptor }, INDEX],
  ['MediaType', { ...without(image), MediaType: INDEX }, MANIFEST],
  ['mediatype', { ...image, mediatype: INDEX }, MANIFEST],
  ['FSLayers', { ...image, FSLayers: [] }, MANIFEST],
  ['a second digest', { ...image, layers: [{ ...descriptor, Digest: good.digest }] }, MANIFEST],
  ['a second list of urls', { ...image, layers: [{ ...descriptor, URLs: ['https://x/'] }] }, MANIFEST],
  // What is read differently from what is seen.
  [
    'a name in escapes',
    JSON.stringify({ ...image, manifests: children }).replace('manifests', String.raw`\u006danifests`),
    MANIFEST,
  ],
  ['a byte order mark', `\ufeff${JSON.stringify(image)}`, MANIFEST],
  ['two documents', `${JSON.stringify(image)}${JSON.stringify(list)}`, MANIFEST],
  ['a comment', `/**/${JSON.stringify(image)}`, MANIFEST],
  ['a list', JSON.stringify([image]), MANIFEST],
  ['a type that is a number', { ...without(image), mediaType: 2 }, 'application/octet-stream-x'],
];

const ask = (reference: string) => get(`${edge.http}/v2/app/manifests/${reference}`, { keepBody: true });

void t.test(
  'what two readers could take for two things is refused and not kept (CVE-2021-41190)',
  async (t) => {
    for (const [what, document, contentType] of CONFUSED) {
      const content = typeof document === 'string' ? document : JSON.stringify(document);
      const { digest } = central.addManifest('app', 'bad', content, contentType);
      for (const reference of ['bad', digest]) {
        for (const round of [1, 2]) {
          central.forget();
          const { status, body } = await ask(reference);
          t.equal(status, 400, `${what}, ${reference}`);
          t.match(body.toString(), /MANIFEST_INVALID/);
          t.equal(central.requests('GET', 'manifest', reference), 1, `asked again, round ${round}`);
        }
      }
    }
  },
);

void t.test('and what is one thing comes through', async (t) => {
  for (const [tag, { manifest }] of [
    ['image', good],
    ['index', index],
  ] as const) {
    const { status, headers } = await ask(tag);
    t.same([status, headers['content-type']], [200, manifest.mediaType]);
  }
  const annotated = { ...image, annotations: { Layers: 'x', manifests: 'y', MediaType: 'z' } };
  central.addManifest('app', 'annotated', JSON.stringify(annotated), MANIFEST);
  t.equal((await ask('annotated')).status, 200);
});
