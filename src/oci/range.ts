/** What a `Range` header asks of a body. Byte positions are inclusive, as in RFC 9110 §14. */
export type RangeRequest =
  | { readonly kind: 'whole' }
  | { readonly kind: 'from'; readonly first: number; readonly last: number | undefined }
  | { readonly kind: 'suffix'; readonly length: number };

export type ResolvedRange =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly first: number; readonly last: number }
  | { readonly kind: 'unsatisfiable' };

const WHOLE: RangeRequest = { kind: 'whole' };

/**
 * Reads a `Range` header. Absent, another unit than bytes, or more than one range: the whole body (RFC 9110 §14.2;
 * several ranges are never multiplied into a larger answer). `undefined`: the syntax is broken.
 */
export function parseRange(header: string | undefined): RangeRequest | undefined {
  if (header === undefined) return WHOLE;
  const equals = header.indexOf('=');
  if (equals === -1) return undefined;
  if (header.slice(0, equals).trim().toLowerCase() !== 'bytes') return WHOLE;
  const set = header.slice(equals + 1).trim();
  if (set.includes(',')) return WHOLE;
  const match = /^(\d{0,15})-(\d{0,15})$/.exec(set);
  const [, first = '', last = ''] = match ?? [];
  if (match === null || (first === '' && last === '')) return undefined;
  if (first === '') return { kind: 'suffix', length: Number(last) };
  if (last !== '' && Number(last) < Number(first)) return undefined;
  return { kind: 'from', first: Number(first), last: last === '' ? undefined : Number(last) };
}

/** Applies a range to a body of `size` bytes (RFC 9110 §14.1.2). */
export function resolveRange(range: RangeRequest, size: number): ResolvedRange {
  switch (range.kind) {
    case 'whole':
      return range;
    case 'suffix':
      if (range.length === 0 || size === 0) return { kind: 'unsatisfiable' };
      return { kind: 'part', first: Math.max(0, size - range.length), last: size - 1 };
    case 'from':
      if (range.first >= size) return { kind: 'unsatisfiable' };
      return { kind: 'part', first: range.first, last: Math.min(range.last ?? size - 1, size - 1) };
  }
}

/** The first byte and the total of a `Content-Range: bytes a-b/total` answer; total is undefined when unknown (`*`). */
export function parseContentRange(header: string): { first: number; total: number | undefined } | undefined {
  const match = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(header.trim());
  if (match === null) return undefined;
  return { first: Number(match[1]), total: match[2] === '*' ? undefined : Number(match[2]) };
}
