import * as fc from 'fast-check';
import { join, normalize, sep } from 'node:path';
import t from 'tap';
import { digestOf, hexOf } from '../../src/oci/digest.ts';
import { parseRepositoryName } from '../../src/oci/repository-name.ts';
import { StoreLayout } from '../../src/store/layout.ts';

const layout = new StoreLayout('/var/lib/pierhead');

void t.test('the paths on disk', async (t) => {
  const short = digestOf(Buffer.of());
  const long = digestOf(Buffer.of(), 'sha512');
  t.equal(layout.blob(short), `/var/lib/pierhead/v1/blobs/sha256/e3/${hexOf(short)}`);
  t.equal(layout.blob(long), `/var/lib/pierhead/v1/blobs/sha512/cf/${hexOf(long)}`);
  t.equal(layout.partialBlob(short), `/var/lib/pierhead/v1/partial/sha256-${hexOf(short)}`);
});

void t.test('a repository’s folder is below the manifests, and no other repository’s', async (t) => {
  const word = fc.constantFrom('a', 'b', 'manifests', 'sha256-x', 'docker.io', '0');
  const name = fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join('/'));
  const upstream = fc.constantFrom('docker.io', 'central', 'registry.corp:5000');
  const folder = (upstream: string, text: string): string => {
    const name = parseRepositoryName(text);
    if (name === undefined) throw new Error(text);
    return layout.manifestFolder({ upstream, name });
  };
  fc.assert(
    fc.property(upstream, name, upstream, name, (upstreamA, nameA, upstreamB, nameB) => {
      const [one, other] = [folder(upstreamA, nameA), folder(upstreamB, nameB)];
      const same = upstreamA === upstreamB && nameA === nameB;
      return (
        (one === other) === same &&
        one === normalize(one) &&
        one.startsWith(join(layout.manifests, upstreamA) + sep) &&
        (same || !other.startsWith(one + sep))
      );
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
