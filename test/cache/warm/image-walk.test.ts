import t from 'tap';
import type { ManifestEntry } from '../../../src/cache/manifests/manifest-store.ts';
import { walkImage } from '../../../src/cache/warm/image-walk.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const digest = (text: string): Digest => digestOf(Buffer.from(text));

/** Under a digest that is not its own: what no upstream can make the cache keep. */
function indexOf(as: string, ...children: readonly Digest[]): ManifestEntry {
  const manifests = children.map((child) => ({ digest: child }));
  const content = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
  return { digest: digest(as), mediaType: INDEX, content };
}

void t.test('an index that lists itself ends', async (t) => {
  const root = indexOf('a', digest('a'), digest('b'));
  const other = indexOf('b', digest('a'), digest('b'));
  const asked: Digest[] = [];
  const parts = await walkImage(root, 'all', async (child) => {
    asked.push(child);
    return other;
  });
  t.strictSame(parts, { manifests: [digest('a'), digest('b')], blobs: [], problems: [] });
  t.same(asked, [digest('b')]);
});

void t.test('an index of thousands is an error, and ends', async (t) => {
  const many = Array.from({ length: 5000 }, (_, n) => digest(`child ${n}`));
  let asked = 0;
  const { problems } = await walkImage(indexOf('a', ...many), 'all', async () => {
    asked += 1;
    return 'gone';
  });
  t.ok(asked < 500);
  t.match(problems.at(-1), /over 500 manifests/);
});

void t.test('what is no manifest, and what cannot be had, is said', async (t) => {
  const broken = { digest: digest('b'), mediaType: 'text/html', content: Buffer.from('<html>') };
  const parts = await walkImage(indexOf('a', digest('b'), digest('c')), 'all', async (child) =>
    child === digest('b') ? broken : 'gone',
  );
  t.same(parts.problems, [`${digest('c')}: gone`, `${digest('b')} is not a manifest`]);
});
