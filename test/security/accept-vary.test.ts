import * as fc from 'fast-check';
import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { createImage, createIndex } from '../support/images.ts';

const central = await startCentral();
t.teardown(() => central.stop());
const image = createImage({ layers: [3000] });
const index = createIndex([image]);
central.addImage('app', 'image', image);
central.addImage('app', 'index', index);
const edge = await startEdge({
  config: { upstreams: [{ name: 'central', url: central.url, default: true }], freshness: { tag: '1h' } },
});
t.teardown(() => edge.remove());

/** What clients send, what nobody sends, and what some cache would keep each by itself. */
const ACCEPT = fc.sample(
  fc.oneof(
    fc.constantFrom(
      '*/*',
      '',
      'text/html',
      'application/json',
      image.manifest.mediaType,
      index.manifest.mediaType,
      ';;;',
      ',,',
    ),
    fc.stringMatching(/^[\x21-\x7e]{1,200}$/),
  ),
  { numRuns: 60, seed: 35296 },
);

void t.test(
  'whatever clients accept: one question a manifest, one answer for all (CVE-2024-35296)',
  async (t) => {
    const manifests = [
      ['image', image],
      ['index', index],
    ] as const;
    for (const [tag, { digest, manifest }] of manifests) {
      central.forget();
      for (const reference of [tag, digest]) {
        const answers = await Promise.all(
          ACCEPT.map((accept, at) =>
            get(`${edge.http}/v2/app/manifests/${reference}`, {
              keepBody: true,
              headers: {
                accept,
                ...(at % 2 === 0 && {
                  'accept-encoding': 'gzip, zstd',
                  'accept-language': accept,
                  cookie: `a=${at}`,
                }),
              },
            }),
          ),
        );
        for (const { status, headers, body } of answers) {
          t.equal(status, 200);
          t.equal(headers['content-type'], manifest.mediaType);
          t.equal(headers.vary, undefined);
          t.equal(body.compare(manifest.bytes), 0);
        }
      }
      t.equal(central.requests('GET', 'manifest'), 1, tag);
    }
    const asked = new Set(central.find({ kind: 'manifest' }).map(({ headers }) => headers.accept));
    t.equal(asked.size, 1, 'in the edge’s own words');
  },
);

void t.test('one blob under any header is one transfer', async (t) => {
  const [, layer] = image.blobs;
  central.forget();
  const answers = await Promise.all(
    ACCEPT.map((accept) => get(`${edge.http}/v2/app/blobs/${layer?.digest}`, { headers: { accept } })),
  );
  t.ok(answers.every(({ status, sha256 }) => status === 200 && `sha256:${sha256}` === layer?.digest));
  t.equal(central.requests('GET', 'blob'), 1);
});
