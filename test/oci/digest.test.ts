import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import t from 'tap';
import { algorithmOf, completes, digestOf, hasherFor, hexOf, parseDigest } from '../../src/oci/digest.ts';

const hex = (length: number): fc.Arbitrary<string> =>
  fc.string({
    unit: fc.constantFrom(...Array.from('0123456789abcdef')),
    minLength: length,
    maxLength: length,
  });
const digest = fc.oneof(
  hex(64).map((text) => `sha256:${text}`),
  hex(128).map((text) => `sha512:${text}`),
);

void t.test('the two registered algorithms in their one spelling', async (t) => {
  fc.assert(
    fc.property(digest, (text) => {
      const parsed = parseDigest(text);
      return (
        parsed === text &&
        `${algorithmOf(parsed)}:${hexOf(parsed)}` === text &&
        /^[0-9a-f]+$/.test(hexOf(parsed))
      );
    }),
  );
  const whole = `sha256:${'a'.repeat(64)}`;
  const wrong = [
    '',
    'sha256',
    'sha256:',
    `sha256:${'a'.repeat(63)}`,
    `sha256:${'a'.repeat(65)}`,
    `sha256:${'A'.repeat(64)}`,
    `SHA256:${'a'.repeat(64)}`,
    `sha256:${'g'.repeat(64)}`,
    `sha512:${'a'.repeat(64)}`,
    `sha256:${'a'.repeat(128)}`,
    `md5:${'a'.repeat(32)}`,
    `sha384:${'a'.repeat(96)}`,
    `sha256+b64:${'a'.repeat(64)}`,
    `sha256-${'a'.repeat(64)}`,
    ` ${whole}`,
    `${whole} `,
    `${whole}\n`,
    `${whole}\0`,
    `${whole},${whole}`,
    `sha256:${'../'.repeat(21)}a`,
    `sha256:/${'a'.repeat(63)}`,
    `sha256:${'а'.repeat(64)}`,
  ];
  for (const text of wrong) t.equal(parseDigest(text), undefined, JSON.stringify(text));
});

void t.test('one changed character makes it no digest, or another one', async () => {
  fc.assert(
    fc.property(digest, fc.nat(), fc.string({ unit: 'binary', maxLength: 2 }), (text, at, replacement) => {
      const position = at % text.length;
      const changed = text.slice(0, position) + replacement + text.slice(position + 1);
      const parsed = parseDigest(changed);
      return parsed === undefined || /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(parsed);
    }),
    { numRuns: 2000 },
  );
});

void t.test('a megabyte of digest is refused', async (t) => {
  for (const text of [`sha256:${'a'.repeat(1 << 20)}`, 'sha256:'.repeat(150_000), 'a'.repeat(1 << 20)])
    t.equal(parseDigest(text), undefined);
});

void t.test('content and digest belong together', async (t) => {
  t.equal(
    digestOf(Buffer.alloc(0)),
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  );
  fc.assert(
    fc.property(
      fc.uint8Array(),
      fc.uint8Array({ minLength: 1 }),
      fc.constantFrom('sha256' as const, 'sha512' as const),
      (content, more, algorithm) => {
        const name = digestOf(content, algorithm);
        const other = hasherFor(name).update(content).update(more);
        return (
          parseDigest(name) === name &&
          hexOf(name) === createHash(algorithm).update(content).digest('hex') &&
          completes(hasherFor(name).update(content), name) &&
          !completes(other, name)
        );
      },
    ),
  );
});
