import { ListError } from './page.ts';

/**
 * A list of tags or of repository names as it is kept and sent: a JSON array whose strings need no escapes, so that a
 * part of a long list is found and cut out of the bytes without reading it all into objects.
 */
export type NameList = Uint8Array;

export interface NameListPart {
  readonly names: NameList;
  /** The last name, when more follow; undefined at the end of the list. */
  readonly more: string | undefined;
}

/** Letters, digits and what tags and repository names have besides: nothing that JSON or a comma could be mistaken for. */
const PLAIN = /^[\w./-]+$/;

/**
 * Reads `{"tags": […]}` or `{"repositories": […]}`. What `accepts` does not take is left out: no client could ask for it.
 * @throws {ListError} it is not such a document.
 */
export function parseNameList(
  content: Uint8Array,
  field: 'tags' | 'repositories',
  accepts: (name: string) => boolean,
): string[] {
  const listed = readDocument(content)[field];
  // distribution writes null for a repository without tags.
  if (listed === null) return [];
  if (!Array.isArray(listed)) throw new ListError(`the upstream sent a list without ${field}`);
  return listed.filter(
    (name): name is string => typeof name === 'string' && PLAIN.test(name) && accepts(name),
  );
}

/** @throws {ListError} the bytes are not a JSON object. */
export function readDocument(content: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content));
  } catch (cause) {
    throw new ListError('the upstream sent a list that is not JSON', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ListError('the upstream sent a list that is not a JSON object');
  return value as Record<string, unknown>;
}

/** Names that {@link parseNameList} or their own parsers have let through. */
export function encodeNames(names: readonly string[]): NameList {
  return Buffer.from(JSON.stringify(names));
}

/** At most `n` names after `last`, all without `n`; undefined when `last` is not in the list. */
export function partOf(
  list: NameList,
  n: number | undefined,
  last: string | undefined,
): NameListPart | undefined {
  const bytes = Buffer.from(list.buffer, list.byteOffset, list.byteLength);
  const close = bytes.byteLength - 1;
  let from = 1;
  if (last !== undefined) {
    const at = PLAIN.test(last) ? bytes.indexOf(`"${last}"`) : -1;
    if (at === -1) return undefined;
    from = Math.min(at + last.length + 3, close);
  }
  if (n === 0) return { names: encodeNames([]), more: undefined };
  let to = from - 1;
  for (let count = 0; count < (n ?? Infinity) && to < close; count += 1) {
    const comma = n === undefined ? -1 : bytes.indexOf(',', to + 1);
    to = comma === -1 ? close : comma;
  }
  const cut = Buffer.concat([OPEN, bytes.subarray(from, Math.max(from, to)), CLOSE]);
  if (to >= close) return { names: cut, more: undefined };
  const before = bytes.lastIndexOf('"', to - 2);
  return { names: cut, more: bytes.toString('latin1', before + 1, to - 1) };
}

/**
 * The names after `last`, which is not among them. Registries sort by bytes or without regard to case: what stands
 * before `last` in both orders is left out, so that nothing is lost in either.
 */
export function namesAfter(list: NameList, last: string): NameList {
  const names = JSON.parse(Buffer.from(list).toString('latin1')) as string[];
  const first = names.findIndex((name) => name > last || name.toLowerCase() > last.toLowerCase());
  return encodeNames(first === -1 ? [] : names.slice(first));
}

const OPEN = Buffer.from('[');
const CLOSE = Buffer.from(']');
