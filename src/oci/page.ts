/** Why an upstream's list was refused; `message` is fit for a client. */
export class ListError extends Error {
  override readonly name = 'ListError';
}

/** Which part of a list is meant. Made by {@link parsePage} and {@link nextPage} alone. */
export interface Page {
  readonly n: number | undefined;
  /** The entry after which the page begins; any text that the upstream gave out as such (ECR's are opaque). */
  readonly last: string | undefined;
  /** The upstream's own query, where its next page takes more than `n` and `last` (Quay's `next_page`); it stands for both. */
  readonly cursor: string | undefined;
}

export const FIRST_PAGE: Page = { n: undefined, last: undefined, cursor: undefined };

/** Clients that want more follow the `Link`. */
export const MAX_PAGE_ENTRIES = 10_000;
const MAX_QUERY_LENGTH = 1024;
const MAX_LINK_LENGTH = 4096;
const LAST = /^[\w.~:@+/=,-]{1,512}$/;
const PARAMETER = /^[\w.-]{1,64}$/;
const VALUE = /^[\x21-\x7e]{0,1000}$/;

/** The page that a client asks for; a string names what is wrong with it. `n` is capped, not refused. */
export function parsePage(query: URLSearchParams): Page | string {
  const n = query.get('n') ?? undefined;
  if (n !== undefined && !/^\d{1,9}$/.test(n)) return `n takes a number, not ${shown(n)}`;
  const last = query.get('last') || undefined;
  if (last !== undefined && !LAST.test(last)) return `last takes an entry of the list, not ${shown(last)}`;
  const cursor = query.get('cursor') ?? undefined;
  if (cursor !== undefined && strictQuery(cursor) === undefined)
    return `cursor takes what a Link of this edge gave, not ${shown(cursor)}`;
  return { n: n === undefined ? undefined : Math.min(Number(n), MAX_PAGE_ENTRIES), last, cursor };
}

/** The page as a query, for this edge's own `Link`. */
export function pageQuery({ n, last, cursor }: Page): URLSearchParams {
  const query = new URLSearchParams();
  if (n !== undefined) query.set('n', String(n));
  if (last !== undefined) query.set('last', last);
  if (cursor !== undefined) query.set('cursor', cursor);
  return query;
}

/** The page as the upstream is asked for it. */
export function upstreamQuery({ n, last, cursor }: Page): URLSearchParams {
  return cursor === undefined
    ? pageQuery({ n, last, cursor: undefined })
    : (strictQuery(cursor) ?? new URLSearchParams());
}

/**
 * What an upstream's `Link` header says of the page after `asked`. Only the query of the target is taken: whatever
 * host or path the upstream names, neither a client nor the edge goes there. `own` are parameters of the question
 * itself, which every page of it has.
 * @throws {ListError} there is a next page, and it cannot be asked for: the list must not look complete.
 */
export function nextPage(
  link: string | undefined,
  asked: Page,
  own: readonly string[] = [],
): Page | undefined {
  const target = link === undefined ? undefined : nextTarget(link);
  if (target === undefined) return undefined;
  const mark = target.indexOf('?');
  const query = mark === -1 ? undefined : strictQuery(target.slice(mark + 1).replace(/#.*$/s, ''));
  if (query === undefined) throw new ListError('the upstream names a next page that cannot be asked for');
  // An edge in front of this one may have been asked for a namespace; here it would choose another upstream.
  for (const name of ['ns', ...own]) query.delete(name);
  const last = query.get('last') ?? undefined;
  const plain = [...query.keys()].every((name) => name === 'n' || name === 'last');
  // GitHub's registry writes n=0 for "as before"; what the client asked for is what it goes on with.
  const n = asked.n ?? pageSize(query.get('n'));
  const next: Page =
    plain && last !== undefined && LAST.test(last)
      ? { n, last, cursor: undefined }
      : { n, last: undefined, cursor: query.toString() };
  if (upstreamQuery(next).toString() === upstreamQuery(asked).toString() || next.cursor === '')
    throw new ListError('the upstream names the same page as the next one');
  return next;
}

function pageSize(text: string | null): number | undefined {
  const n = /^\d{1,9}$/.test(text ?? '') ? Number(text) : 0;
  return n > 0 ? Math.min(n, MAX_PAGE_ENTRIES) : undefined;
}

/** Parameters that can be written into a header and into a target again; undefined for anything else. */
function strictQuery(text: string): URLSearchParams | undefined {
  if (text.length > MAX_QUERY_LENGTH || !/^[\x21-\x7e]*$/.test(text)) return undefined;
  const query = new URLSearchParams(text);
  const names = [...query.keys()];
  if (names.length > 16 || new Set(names).size < names.length) return undefined;
  for (const [name, value] of query) if (!PARAMETER.test(name) || !VALUE.test(value)) return undefined;
  return query;
}

/**
 * The target of the first `rel=next` in a `Link` header (RFC 8288 §3). Read by hand, in one pass: no pattern of several
 * links may take longer than the header is long.
 * @throws {ListError} the header is not one.
 */
function nextTarget(link: string): string | undefined {
  if (link.length > MAX_LINK_LENGTH) throw new ListError('the upstream sent a Link that is too long');
  let at = 0;
  while (at < link.length) {
    if (' \t,'.includes(link.charAt(at))) {
      at += 1;
      continue;
    }
    const end = link.charAt(at) === '<' ? link.indexOf('>', at) : -1;
    if (end === -1) throw new ListError('the upstream sent a Link that is none');
    const target = link.slice(at + 1, end);
    const { relations, next } = readParameters(link, end + 1);
    if (relations.includes('next')) return target;
    at = next;
  }
  return undefined;
}

/** What stands between `>` and the comma that ends the link; a comma in quotes does not. */
function readParameters(link: string, from: number): { relations: string[]; next: number } {
  const parts: string[] = [];
  let start = from;
  let quoted = false;
  let at = from;
  for (; at < link.length; at += 1) {
    const character = link.charAt(at);
    if (quoted && character === '\\') at += 1;
    else if (character === '"') quoted = !quoted;
    else if (!quoted && (character === ';' || character === ',')) {
      parts.push(link.slice(start, at));
      start = at + 1;
      if (character === ',') break;
    }
  }
  parts.push(link.slice(start, Math.max(start, at)));
  for (const part of parts) {
    const equals = part.indexOf('=');
    if (equals === -1 || part.slice(0, equals).trim().toLowerCase() !== 'rel') continue;
    const value = part.slice(equals + 1).trim();
    const bare = value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    return { relations: bare.toLowerCase().split(/[ \t]+/), next: at + 1 };
  }
  return { relations: [], next: at + 1 };
}

/** JSON escapes what could break a log line or a terminal. */
function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
