import * as fc from 'fast-check';
import t from 'tap';
import { ManifestError, MAX_MANIFEST_BYTES, parseManifest, type Manifest } from '../../src/oci/manifest.ts';
import { parseDigest } from '../../src/oci/digest.ts';

const OCI_IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER_IMAGE = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
const hash = (digit: string): string => `sha256:${digit.repeat(64)}`;
const descriptor = (digit: string, more: object = {}): object => ({ digest: hash(digit), size: 1, ...more });
const IMAGE = { schemaVersion: 2, config: descriptor('c'), layers: [descriptor('1'), descriptor('2')] };
const INDEX = { schemaVersion: 2, manifests: [descriptor('a'), descriptor('b')] };

const parse = (document: unknown, contentType?: string): Manifest =>
  parseManifest(Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)), contentType);

void t.test('an image names its config and layers, an index its children', async (t) => {
  const blobs = [hash('c'), hash('1'), hash('2')];
  for (const mediaType of [OCI_IMAGE, DOCKER_IMAGE]) {
    t.strictSame(parse({ ...IMAGE, mediaType }, mediaType), {
      kind: 'image',
      mediaType,
      blobs,
      manifests: [],
    });
    t.strictSame(parse(IMAGE, `${mediaType}; charset=utf-8`).mediaType, mediaType);
  }
  for (const mediaType of [OCI_INDEX, DOCKER_LIST]) {
    const manifests = [hash('a'), hash('b')];
    t.strictSame(parse({ ...INDEX, mediaType }, mediaType), {
      kind: 'index',
      mediaType,
      blobs: [],
      manifests,
    });
  }
  const artifact = 'application/vnd.oci.artifact.manifest.v1+json';
  t.strictSame(parse({ mediaType: artifact, blobs: [descriptor('1')] }, artifact).blobs, [hash('1')]);
  const twice = { config: descriptor('1'), layers: [descriptor('1'), descriptor('1')] };
  t.strictSame(parse(twice, OCI_IMAGE).blobs, [hash('1')]);
});

void t.test('a type that says nothing gives way to the manifest’s own', async (t) => {
  for (const sent of [undefined, '', 'application/json', 'Application/JSON; charset=utf-8', 'text/plain']) {
    t.equal(parse({ ...IMAGE, mediaType: DOCKER_IMAGE }, sent).mediaType, DOCKER_IMAGE);
    t.equal(parse(IMAGE, sent).mediaType, OCI_IMAGE);
    t.equal(parse(INDEX, sent).mediaType, OCI_INDEX);
  }
});

void t.test('layers that live elsewhere are not asked for', async (t) => {
  const foreign = descriptor('1', { urls: ['https://example.com/layer'] });
  const layers = [foreign, descriptor('2', { urls: [] })];
  t.strictSame(parse({ ...IMAGE, layers }, OCI_IMAGE).blobs, [hash('c'), hash('2')]);
});

void t.test('two types at once, or none, are refused (CVE-2021-41190)', async (t) => {
  const refused: [unknown, string | undefined][] = [
    [{ ...IMAGE, ...INDEX }, OCI_IMAGE],
    [{ ...IMAGE, ...INDEX }, OCI_INDEX],
    [{ ...IMAGE, ...INDEX }, undefined],
    [{ ...INDEX, config: descriptor('c') }, OCI_INDEX],
    [{ ...INDEX, blobs: [] }, OCI_INDEX],
    [{ ...INDEX, layers: null }, OCI_INDEX],
    [{ ...IMAGE, mediaType: OCI_INDEX }, OCI_IMAGE],
    [{ ...IMAGE, mediaType: OCI_IMAGE }, DOCKER_IMAGE],
    [{ ...IMAGE, mediaType: OCI_INDEX }, undefined],
    [IMAGE, OCI_INDEX],
    [INDEX, OCI_IMAGE],
    [{}, OCI_INDEX],
    [{}, undefined],
    [{ ...IMAGE, mediaType: 7 }, 'application/unheard.of'],
    [{ schemaVersion: 1 }, 'application/vnd.docker.distribution.manifest.v1+prettyjws'],
    [{ ...IMAGE, layers: { 0: descriptor('1') } }, OCI_IMAGE],
    [{ ...IMAGE, layers: [null] }, OCI_IMAGE],
    [{ ...IMAGE, layers: [{ digest: '../../etc/passwd' }] }, OCI_IMAGE],
    [{ ...IMAGE, layers: [{ digest: [hash('1')] }] }, OCI_IMAGE],
    [{ ...IMAGE, layers: [{ digest: 'nope', urls: ['https://example.com/'] }] }, OCI_IMAGE],
    [{ ...IMAGE, config: null }, OCI_IMAGE],
    [{ manifests: 'none' }, OCI_INDEX],
    [[IMAGE], OCI_IMAGE],
    ['null', OCI_IMAGE],
    ['', OCI_IMAGE],
    ['{', OCI_IMAGE],
    ['{}{}', OCI_IMAGE],
    ['"text"', OCI_IMAGE],
  ];
  for (const [document, contentType] of refused)
    t.throws(() => parse(document, contentType), ManifestError, JSON.stringify(document).slice(0, 90));
  t.throws(() => parseManifest(Uint8Array.of(0x7b, 0xff, 0x7d), OCI_IMAGE), ManifestError, 'not UTF-8');
});

void t.test('4 MiB and no more', async (t) => {
  const text = JSON.stringify(IMAGE);
  const padded = text + ' '.repeat(MAX_MANIFEST_BYTES - text.length);
  t.equal(parse(padded, OCI_IMAGE).kind, 'image');
  t.throws(() => parse(`${padded} `, OCI_IMAGE), { name: 'ManifestError', message: /4194304/ });
  t.throws(() => parse('['.repeat(MAX_MANIFEST_BYTES), OCI_IMAGE), ManifestError, 'deep, not wide');
  t.throws(() => parse('{"layers":'.repeat(400_000), OCI_IMAGE), ManifestError);
});

void t.test('what is shown of a foreign type is short and on one line', async (t) => {
  const odd = `a\u0000\n\u001b[31m${'x'.repeat(9000)}`;
  try {
    parse(IMAGE, odd);
    t.fail('taken');
  } catch (error) {
    t.match(error, { name: 'ManifestError', message: /^[ -~]{1,1000}$/ });
  }
});

void t.test('anything at all: a manifest of parsed parts, or a ManifestError', async (t) => {
  const value = fc.oneof(
    { maxDepth: 3 },
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom<unknown>(null, [], {}, descriptor('1'), [descriptor('1')], [{}], OCI_IMAGE, OCI_INDEX, 7),
    fc.array(fc.record({ digest: fc.oneof(fc.constant(hash('d')), fc.jsonValue()), urls: fc.jsonValue() })),
  );
  const key = fc.constantFrom(
    'mediaType',
    'manifests',
    'layers',
    'config',
    'blobs',
    '__proto__',
    'constructor',
  );
  const document = fc
    .array(fc.tuple(key, value), { maxLength: 5 })
    .map((pairs) => `{${pairs.map(([key, value]) => `"${key}":${JSON.stringify(value)}`).join(',')}}`);
  const content = fc.oneof(
    { weight: 5, arbitrary: document.map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: fc.json().map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
  );
  const type = fc.option(fc.constantFrom(OCI_IMAGE, OCI_INDEX, DOCKER_IMAGE, DOCKER_LIST, 'text/html', 'x'), {
    nil: undefined,
  });
  let manifests = 0;
  fc.assert(
    fc.property(content, type, (content, type) => {
      try {
        const manifest = parseManifest(content, type);
        manifests += 1;
        const digests = [...manifest.blobs, ...manifest.manifests];
        return digests.every((digest) => parseDigest(digest) === digest);
      } catch (error) {
        return error instanceof ManifestError;
      }
    }),
    { numRuns: 5000 },
  );
  t.ok(manifests > 100, `${manifests} of them were manifests`);
});
