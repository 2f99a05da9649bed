import * as fc from 'fast-check';
import t from 'tap';
import { encodeNames, namesAfter, parseNameList, partOf, type NameList } from '../../src/oci/name-list.ts';
import { ListError } from '../../src/oci/page.ts';
import { parseTag } from '../../src/oci/reference.ts';

const isTag = (text: string): boolean => parseTag(text) !== undefined;
const read = (list: NameList): unknown => JSON.parse(Buffer.from(list).toString());
const tags = (document: unknown): unknown =>
  parseNameList(Buffer.from(JSON.stringify(document)), 'tags', isTag);

void t.test('the tags that can be asked for, in the order of the upstream', async (t) => {
  t.same(tags({ name: 'a', tags: ['b', 'a', 'V1.2_3-x'] }), ['b', 'a', 'V1.2_3-x']);
  t.same(tags({ tags: null }), [], 'a repository without tags');
  const junk = [
    '\u0000',
    'a\nb',
    'a b',
    '',
    '-a',
    '.a',
    'é',
    '"',
    ',',
    'x'.repeat(129),
    7,
    null,
    ['a'],
    { a: 1 },
  ];
  t.same(tags({ tags: ['a', ...junk, 'b'] }), ['a', 'b']);
});

void t.test('what is no list', async (t) => {
  for (const document of [{}, { tags: 'a' }, { tags: { 0: 'a' } }, [], 'a', 7, null, { repositories: [] }])
    t.throws(() => tags(document), ListError, JSON.stringify(document));
  for (const text of ['', '<html>', '{"tags":["a"]', '{"tags":["a"]}x', '['.repeat(100_000), '\ufeff{'])
    t.throws(() => parseNameList(Buffer.from(text), 'tags', isTag), ListError, text.slice(0, 20));
  t.throws(() => parseNameList(Buffer.from([0x7b, 0xff, 0x7d]), 'tags', isTag), ListError, 'not UTF-8');
});

const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,6}$/);
const distinct = fc.uniqueArray(tag, { maxLength: 20 });

void t.test('a part of any list is what an array would give', async () => {
  fc.assert(
    fc.property(distinct, fc.option(fc.nat(22), { nil: undefined }), fc.nat(25), (names, n, at) => {
      const last = names[at];
      const from = last === undefined ? 0 : at + 1;
      const expected = names.slice(from, n === undefined ? undefined : from + n);
      const part = partOf(encodeNames(names), n, last);
      const more = n !== 0 && from + expected.length < names.length ? expected.at(-1) : undefined;
      return (
        part !== undefined &&
        JSON.stringify(read(part.names)) === JSON.stringify(expected) &&
        part.more === more
      );
    }),
    { numRuns: 2000 },
  );
});

void t.test('the pages of a list are the list', async () => {
  fc.assert(
    fc.property(distinct, fc.integer({ min: 1, max: 7 }), (names, n) => {
      const seen: unknown[] = [];
      let last: string | undefined;
      do {
        const part = partOf(encodeNames(names), n, last);
        if (part === undefined) return false;
        seen.push(...(read(part.names) as unknown[]));
        last = part.more;
      } while (last !== undefined);
      return JSON.stringify(seen) === JSON.stringify(names);
    }),
  );
});

void t.test('a last that is not in the list', async (t) => {
  const list = encodeNames(['a', 'b', 'c']);
  for (const last of ['d', '","', '"', ',', '[', 'a"', 'a","b'])
    t.equal(partOf(list, 1, last), undefined, last);
  t.same(read(namesAfter(list, 'bb')), ['c']);
  t.same(read(namesAfter(list, 'z')), []);
  t.same(read(namesAfter(encodeNames(['A', 'C', 'b', 'd']), 'B')), ['C', 'b', 'd'], 'sorted by bytes');
  t.same(
    read(namesAfter(encodeNames(['A', 'b', 'C', 'd']), 'bb')),
    ['C', 'd'],
    'sorted without regard to case',
  );
});

void t.test('a list of a million names is cut without being read into objects', async (t) => {
  const names = Array.from({ length: 1_000_000 }, (_, index) => `v${String(index).padStart(7, '0')}`);
  const list = encodeNames(names);
  t.match(partOf(list, 3, 'v0500000'), { more: 'v0500003' });
  t.match(partOf(list, 10, 'v0999995'), { more: undefined });
});
