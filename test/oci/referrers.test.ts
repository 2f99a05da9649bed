import * as fc from 'fast-check';
import t from 'tap';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import { ListError } from '../../src/oci/page.ts';
import { ofArtifactType, parseReferrers, referrersTag } from '../../src/oci/referrers.ts';

const digest = (text: string): Digest => {
  const parsed = parseDigest(text);
  if (parsed === undefined) throw new Error(`not a digest: ${text}`);
  return parsed;
};
const SUBJECT = digest(`sha256:${'a'.repeat(64)}`);
const OTHER = digest(`sha256:${'b'.repeat(64)}`);
const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const descriptor = { mediaType, digest: OTHER, size: 7 };
const parse = (document: unknown): unknown => parseReferrers(Buffer.from(JSON.stringify(document)), SUBJECT);

void t.test('descriptors, with what the image spec gives them', async (t) => {
  const whole = { ...descriptor, artifactType: 'a/b', annotations: { a: 'b' }, platform: { os: 'linux' } };
  t.same(parse({ schemaVersion: 2, manifests: [whole, descriptor] }), [whole, descriptor]);
  const besides = {
    ...descriptor,
    urls: ['http://elsewhere'],
    data: 'e30=',
    artifactType: 7,
    annotations: { a: 1 },
  };
  t.strictSame(parse({ manifests: [besides] }), [descriptor]);
  t.same(parse({ manifests: [] }), []);
});

void t.test('an index that lists the subject itself', async (t) => {
  t.same(parse({ manifests: [{ ...descriptor, digest: SUBJECT }, descriptor] }), [descriptor]);
});

void t.test('what is no list of referrers', async (t) => {
  for (const document of [
    {},
    { manifests: null },
    { manifests: {} },
    { manifests: [null] },
    { manifests: ['sha256:x'] },
    { manifests: [{ ...descriptor, digest: 'sha256:../x' }] },
    { manifests: [{ ...descriptor, size: -1 }] },
    { manifests: [{ ...descriptor, size: '7' }] },
    { manifests: [{ ...descriptor, mediaType: 7 }] },
    { mediaType, manifests: [] },
  ])
    t.throws(() => parse(document), ListError, JSON.stringify(document));
  t.throws(() => parseReferrers(Buffer.from('<html>'), SUBJECT), ListError);
});

void t.test('any JSON: descriptors or an error', async () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.jsonValue(),
        fc.array(fc.jsonValue()).map((manifests) => ({ manifests })),
      ),
      (value) => {
        try {
          return Array.isArray(parse(value));
        } catch (error) {
          return error instanceof ListError;
        }
      },
    ),
  );
});

void t.test('the tag that stands in for the API, and the filter', async (t) => {
  t.equal(referrersTag(SUBJECT), `sha256-${'a'.repeat(64)}`);
  t.equal(
    referrersTag(digest(`sha512:${'c'.repeat(128)}`)),
    `sha512-${'c'.repeat(64)}`,
    'cut to 64 characters',
  );
  const signature = { ...descriptor, artifactType: 'a/signature' };
  t.same(ofArtifactType([descriptor, signature], 'a/signature'), [signature]);
});
