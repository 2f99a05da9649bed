import * as fc from 'fast-check';
import t from 'tap';
import { parseReference, parseTag, referenceText } from '../../src/oci/reference.ts';

/** As the distribution spec writes it. */
const SPEC = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const HEX = 'a'.repeat(64);

void t.test('tags are those of the spec', async (t) => {
  const near = fc.string({ unit: fc.constantFrom(...Array.from('aZ09_.-:/ %\0\n\\é')), maxLength: 9 });
  fc.assert(
    fc.property(near, (text) => (parseTag(text) === undefined) === !SPEC.test(text)),
    { numRuns: 10_000 },
  );
  fc.assert(fc.property(fc.stringMatching(SPEC), (text) => parseTag(text) === text));
  for (const tag of ['latest', '1.2.3', '_', '1..2', 'v1.0-alpha_2', 'x'.repeat(128)])
    t.equal(parseTag(tag), tag);
  for (const tag of ['', '.', '..', '.a', '-a', 'a/b', 'a\n', 'x'.repeat(129), 'x'.repeat(1 << 20)])
    t.equal(parseTag(tag), undefined, JSON.stringify(tag.slice(0, 9)));
});

void t.test('what has a colon is a digest or nothing', async (t) => {
  t.strictSame(parseReference('latest'), { kind: 'tag', tag: 'latest' });
  t.strictSame(parseReference(`sha256:${HEX}`), { kind: 'digest', digest: `sha256:${HEX}` });
  // A tag, though it looks like a file name of the store; the store names its files by digests alone.
  t.strictSame(parseReference(`sha256-${HEX}`), { kind: 'tag', tag: `sha256-${HEX}` });
  for (const text of [
    '',
    ':',
    'a:b',
    'latest:',
    `sha256:${HEX}:`,
    `:sha256:${HEX}`,
    `sha256:${HEX.slice(1)}`,
  ])
    t.equal(parseReference(text), undefined, text);
});

void t.test('a reference is written as it was read', async () => {
  const text = fc.oneof(
    fc.stringMatching(SPEC),
    fc.stringMatching(/^sha256:[0-9a-f]{64}$/),
    fc.string({ unit: 'binary' }),
  );
  fc.assert(
    fc.property(text, (text) => {
      const reference = parseReference(text);
      return reference === undefined || referenceText(reference) === text;
    }),
  );
});
