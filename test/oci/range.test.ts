import * as fc from 'fast-check';
import t from 'tap';
import { parseContentRange, parseRange, resolveRange, type RangeRequest } from '../../src/oci/range.ts';

const MAX_SIZE = 40;
const position = fc.oneof(
  fc.nat({ max: MAX_SIZE + 10 }),
  fc.maxSafeNat().filter((n) => n < 1e15),
);
const size = fc.nat({ max: MAX_SIZE });

/** The bytes that RFC 9110 §14.1.2 selects, one by one. */
function selected(first: number | undefined, last: number | undefined, size: number): number[] {
  const all = Array.from({ length: size }, (_, at) => at);
  if (first === undefined) return all.filter((at) => at >= size - (last ?? 0));
  return all.filter((at) => at >= first && at <= (last ?? Infinity));
}

function bytesOf(header: string | undefined, size: number): number[] | 'whole' | 'unsatisfiable' | 'broken' {
  const range = parseRange(header);
  if (range === undefined) return 'broken';
  const resolved = resolveRange(range, size);
  if (resolved.kind !== 'part') return resolved.kind;
  return Array.from({ length: resolved.last - resolved.first + 1 }, (_, at) => resolved.first + at);
}

void t.test('selects the bytes that a slow reading of the RFC selects', async (t) => {
  const bound = fc.option(position, { nil: undefined });
  fc.assert(
    fc.property(bound, bound, size, (first, last, size) => {
      const header = `bytes=${first ?? ''}-${last ?? ''}`;
      const bytes = bytesOf(header, size);
      const noRange = first === undefined && last === undefined;
      if (noRange || (first !== undefined && last !== undefined && last < first)) return bytes === 'broken';
      const expected = selected(first, last, size);
      return expected.length === 0
        ? bytes === 'unsatisfiable'
        : JSON.stringify(bytes) === JSON.stringify(expected);
    }),
    { numRuns: 5000 },
  );
  t.strictSame(bytesOf('bytes=0-', 3), [0, 1, 2]);
  t.strictSame(bytesOf('bytes=-1', 3), [2]);
  t.strictSame(bytesOf('bytes=-0', 3), 'unsatisfiable');
  t.strictSame(bytesOf('bytes=3-', 3), 'unsatisfiable');
  t.strictSame(bytesOf('bytes=0-0', 0), 'unsatisfiable');
});

void t.test('no header, another unit and several ranges are the whole body', async (t) => {
  for (const header of [undefined, 'lines=1-2', 'bytes=0-1,3-4', 'bytes=,', 'bytes=0-0,-1', '=1-2'])
    t.equal(bytesOf(header, 9), 'whole', String(header));
  t.strictSame(bytesOf(' Bytes = 1-2 ', 9), [1, 2]);
  for (const header of ['', 'bytes', 'bytes=', 'bytes=-', 'bytes=2-1', 'bytes=a-', 'bytes=1', 'bytes=1-2-3'])
    t.equal(bytesOf(header, 9), 'broken', header);
  for (const header of ['bytes=+1-2', 'bytes=1 -2', 'bytes=0x1-', 'bytes=1e1-', 'bytes=--1', 'bytes=1.5-'])
    t.equal(bytesOf(header, 9), 'broken', header);
});

void t.test('whatever the header says, never outside the body', async () => {
  const piece = fc.constantFrom(
    'bytes',
    '=',
    '-',
    '0',
    '1',
    '7',
    '9'.repeat(15),
    '9'.repeat(16),
    ',',
    ' ',
    'x',
  );
  const header = fc.oneof(
    fc.array(piece, { maxLength: 9 }).map((pieces) => pieces.join('')),
    fc.array(piece, { maxLength: 6 }).map((pieces) => `bytes=${pieces.join('')}`),
    fc.string({ unit: 'binary' }),
  );
  fc.assert(
    fc.property(header, fc.oneof(size, fc.maxSafeNat()), (header, size) => {
      const resolved = resolveRange(parseRange(header) ?? { kind: 'whole' }, size);
      if (resolved.kind !== 'part') return true;
      return resolved.first >= 0 && resolved.first <= resolved.last && resolved.last < size;
    }),
    { numRuns: 10_000 },
  );
});

void t.test('a megabyte of header is read once', async (t) => {
  const long = (text: string): string => text.repeat(Math.ceil((1 << 20) / text.length));
  for (const text of [long('9'), `${long('9')}-`, long('0-'), long('-'), long(' ')])
    t.equal(parseRange(`bytes=${text}`), undefined);
  t.strictSame(parseRange(`bytes=${long('0-1,')}`), { kind: 'whole' } satisfies RangeRequest);
  t.equal(parseRange(long('bytes')), undefined);
  t.equal(parseContentRange(`bytes ${long('1')}-2/3`), undefined);
  t.equal(parseContentRange(`bytes ${long(' ')}`), undefined);
});

void t.test('Content-Range tells where an answer begins', async (t) => {
  fc.assert(
    fc.property(position, position, fc.option(position), (first, last, total) => {
      const parsed = parseContentRange(`bytes ${first}-${last}/${total ?? '*'}`);
      return parsed?.first === first && parsed.total === (total ?? undefined);
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...Array.from('bytes 019-/*')) }), (text) => {
      const parsed = parseContentRange(text);
      return parsed === undefined || /^\s*bytes \d+-\d+\/(\d+|\*)\s*$/.test(text);
    }),
  );
  for (const header of ['', 'bytes', 'bytes */10', 'bytes 1-/10', 'bytes 1-2', 'lines 1-2/3', 'bytes=1-2/3'])
    t.equal(parseContentRange(header), undefined, header);
  t.equal(parseContentRange(`bytes ${'1'.repeat(16)}-2/3`), undefined, 'no number that would be rounded');
});
