import { parseDigest, type Digest } from '../oci/digest.ts';
import { RegistryError } from '../oci/error-codes.ts';
import { parsePage, type Page } from '../oci/page.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import { parseRepositoryName, type RepositoryName } from '../oci/repository-name.ts';

/** What a path of the distribution spec asks for; every part is parsed, so nothing raw goes further. */
export type Route =
  | { readonly kind: 'ping' }
  | { readonly kind: 'manifest'; readonly name: RepositoryName; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly name: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'tags'; readonly name: RepositoryName; readonly page: Page }
  | {
      readonly kind: 'referrers';
      readonly name: RepositoryName;
      readonly digest: Digest;
      readonly artifactType: string | undefined;
      readonly page: Page;
    }
  | {
      readonly kind: 'upload';
      readonly name: RepositoryName;
      /** What stands after `/blobs/uploads/`: a registry's own word, so only its characters are checked. Absent: a new upload. */
      readonly session: string | undefined;
      /** As it was sent, without the question mark and made of a query's characters: it may hold state that the registry signed. */
      readonly search: string;
    }
  | { readonly kind: 'catalog'; readonly page: Page };

/** Those that are about a repository. */
export type RepositoryRoute = Extract<Route, { name: unknown }>;

export interface Target {
  readonly route: Route;
  /** containerd's `?ns=`: the registry that the image's name began with. */
  readonly namespace: string | undefined;
}

const MAX_TARGET_LENGTH = 4096;

/**
 * Reads a request target in origin form.
 * @throws {RegistryError} naming the part that is wrong; `undefined` is not an answer here.
 */
export function parseTarget(target: string): Target {
  if (target.length > MAX_TARGET_LENGTH)
    throw new RegistryError('NAME_INVALID', 'the request target is too long');
  const [path, search] = split(target, '?');
  if (search?.includes('#') === true || path.includes('#'))
    throw new RegistryError('NAME_INVALID', 'a # has no place in a target');
  const query = new URLSearchParams(search ?? '');
  return { route: parsePath(decodePath(path), query, search ?? ''), namespace: single(query, 'ns') };
}

function parsePath(path: string, query: URLSearchParams, search: string): Route {
  if (path === '/v2/' || path === '/v2') return { kind: 'ping' };
  if (!path.startsWith('/v2/')) throw new RegistryError('NAME_UNKNOWN', 'only /v2/ is served here');
  const parts = path.slice('/v2/'.length).split('/');
  if (parts.length === 1 && parts[0] === '_catalog') return { kind: 'catalog', page: listPage(query) };
  const last = parts.at(-1) ?? '';
  const before = parts.at(-2);
  // The words stand at fixed places from the end: a repository may well be called `manifests` or `blobs`.
  const name = (dropped: number): RepositoryName => repositoryName(parts.slice(0, -dropped).join('/'));
  if (before === 'manifests') return { kind: 'manifest', name: name(2), reference: reference(last) };
  if (before === 'blobs' && last === 'uploads')
    return { kind: 'upload', name: name(2), session: undefined, search: plainQuery(search) };
  if (before === 'blobs') return { kind: 'blob', name: name(2), digest: digest(last) };
  if (before === 'uploads' && parts.at(-3) === 'blobs')
    return { kind: 'upload', name: name(3), session: session(last), search: plainQuery(search) };
  if (before === 'tags' && last === 'list') return { kind: 'tags', name: name(2), page: listPage(query) };
  if (before === 'referrers') {
    const page = listPage(query);
    return {
      kind: 'referrers',
      name: name(2),
      digest: digest(last),
      artifactType: artifactType(query),
      page,
    };
  }
  throw new RegistryError(
    'NAME_UNKNOWN',
    'no such route: manifests, blobs, tags/list and referrers are known',
  );
}

/** Only the colon of a digest is ever sent encoded; any other escape is a trick or a mistake. */
function decodePath(path: string): string {
  const decoded = path.replaceAll(/%3a/gi, ':');
  if (decoded.includes('%'))
    throw new RegistryError('NAME_INVALID', 'escapes have no place in a repository path');
  return decoded;
}

function repositoryName(text: string): RepositoryName {
  const name = parseRepositoryName(text);
  if (name !== undefined) return name;
  throw new RegistryError(
    'NAME_INVALID',
    `${shown(text)} is not a repository name: lower-case letters, digits, and single . _ - between them, parts joined by /`,
  );
}

function reference(text: string): Reference {
  const parsed = parseReference(text);
  if (parsed !== undefined) return parsed;
  if (text.includes(':')) throw invalidDigest(text);
  throw new RegistryError(
    'MANIFEST_INVALID',
    `${shown(text)} is not a tag: up to 128 letters, digits, . _ -`,
  );
}

function digest(text: string): Digest {
  const parsed = parseDigest(text);
  if (parsed === undefined) throw invalidDigest(text);
  return parsed;
}

/** Unreserved characters only (RFC 3986 §2.3): nothing that a registry or a proxy before it could read as a path. */
function session(text: string): string | undefined {
  if (text === '') return undefined;
  if (/^[\w.~-]+$/.test(text) && text !== '.' && text !== '..') return text;
  throw new RegistryError('BLOB_UPLOAD_UNKNOWN', `${shown(text)} is not an upload of this edge`);
}

/** RFC 3986 §3.4, without the quote, which URL parsers rewrite. */
function plainQuery(text: string): string {
  if (/^[\w.~!$&()*+,;=:@/?%-]*$/.test(text)) return text;
  throw new RegistryError('NAME_INVALID', 'the query holds what has no place in a URL');
}

function invalidDigest(text: string): RegistryError {
  return new RegistryError(
    'DIGEST_INVALID',
    `${shown(text)} is not a digest: sha256:<64 hex> or sha512:<128 hex>, lower case`,
  );
}

/** Parameters that are not the distribution spec's, or this edge's own, go no further. */
function listPage(query: URLSearchParams): Page {
  for (const parameter of ['n', 'last', 'cursor']) single(query, parameter);
  const page = parsePage(query);
  if (typeof page !== 'string') return page;
  throw new RegistryError(page.startsWith('n ') ? 'SIZE_INVALID' : 'NAME_INVALID', page);
}

function artifactType(query: URLSearchParams): string | undefined {
  const type = single(query, 'artifactType') || undefined;
  if (type !== undefined && !/^[\x21-\x7e]{1,255}$/.test(type))
    throw new RegistryError('NAME_INVALID', `artifactType takes a media type, not ${shown(type)}`);
  return type;
}

function single(query: URLSearchParams, key: string): string | undefined {
  const values = query.getAll(key);
  if (values.length > 1) throw new RegistryError('NAME_INVALID', `${key} is given more than once`);
  return values[0];
}

function split(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

/** JSON escapes what could break a log line or a terminal. */
function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
