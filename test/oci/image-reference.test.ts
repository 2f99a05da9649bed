import * as fc from 'fast-check';
import t from 'tap';
import { digestOf } from '../../src/oci/digest.ts';
import { imageText, parseImage, parseImageText, type UpstreamName } from '../../src/oci/image-reference.ts';

const digest = digestOf(Buffer.from('image'));
const hub = { name: 'docker.io', default: true, officialNamespace: 'library' };
const ghcr = { name: 'ghcr.io', default: false, officialNamespace: undefined };
const corp = { name: 'registry.corp:5000', default: false, officialNamespace: undefined };
const upstreams: UpstreamName[] = [hub, ghcr, corp];

function read(text: string, against = upstreams): string {
  const parsed = parseImage(text, against);
  return 'image' in parsed ? imageText(parsed.image) : parsed.problem;
}

void t.test('an image as people write it', async (t) => {
  for (const [text, expected] of [
    ['alpine', 'docker.io/library/alpine:latest'],
    ['alpine:3.20', 'docker.io/library/alpine:3.20'],
    ['library/alpine:3.20', 'docker.io/library/alpine:3.20'],
    ['bitnami/redis', 'docker.io/bitnami/redis:latest'],
    ['docker.io/alpine', 'docker.io/library/alpine:latest'],
    ['docker.io/library/alpine', 'docker.io/library/alpine:latest'],
    ['index.docker.io/library/alpine', 'docker.io/library/alpine:latest'],
    [`ghcr.io/org/app@${digest}`, `ghcr.io/org/app@${digest}`],
    [`ghcr.io/org/app:v1@${digest}`, `ghcr.io/org/app@${digest}`],
    ['ghcr.io/app', 'ghcr.io/app:latest'],
    ['registry.corp:5000/app', 'registry.corp:5000/app:latest'],
    ['registry.corp:5000/deep/er/app:v1', 'registry.corp:5000/deep/er/app:v1'],
  ] as const)
    t.equal(read(text), expected, text);
});

void t.test('Docker Hub under another name is still Docker Hub', async (t) => {
  t.equal(read('docker.io/alpine', [{ ...hub, name: 'hub' }]), 'hub/library/alpine:latest');
  t.equal(
    read('alpine', [{ ...hub, name: 'central', officialNamespace: undefined }]),
    'central/alpine:latest',
  );
});

void t.test('a registry that is no upstream, and what is here instead', async (t) => {
  const known = 'docker.io, ghcr.io, registry.corp:5000';
  for (const [text, host] of [
    ['quay.io/org/app', 'quay.io'],
    ['localhost/app', 'localhost'],
    ['localhost:5000/app:v1', 'localhost:5000'],
    ['registry.corp/app', 'registry.corp'],
  ] as const)
    t.equal(read(text), `there is no upstream ${host}; this edge has ${known}`);
  t.match(read('docker.io/library/alpine', [{ ...ghcr, default: true }]), /no upstream docker\.io/);
});

void t.test('what is no image', async (t) => {
  for (const text of [
    '',
    ':',
    'App',
    'app:',
    'app:-x',
    'app@',
    'app@sha256:1',
    '/app',
    'app/',
    'a//b',
    '../x',
    'ghcr.io/',
  ])
    t.match(read(text), /^takes an image: |there is no upstream \.\./, JSON.stringify(text));
});

void t.test('what is written whole is read back, and nothing makes the parsers throw', async (t) => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.stringMatching(/^[a-z./:@-]{1,30}$/),
        fc.stringMatching(/^([a-z]{1,5}\/){0,3}[a-z]{1,5}(:[a-z0-9]{1,5})?$/),
      ),
      (text) => {
        const parsed = parseImage(text, upstreams);
        if ('problem' in parsed) return true;
        const again = parseImageText(imageText(parsed.image));
        return again !== undefined && imageText(again) === imageText(parsed.image);
      },
    ),
    { numRuns: 2000 },
  );
  t.pass();
});
