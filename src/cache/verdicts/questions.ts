import { hexOf, parseDigest } from '../../oci/digest.ts';
import { bareMediaType, MANIFEST_ACCEPT, manifestKind } from '../../oci/media-type.ts';
import type { RepositoryName } from '../../oci/repository-name.ts';
import { UpstreamError, type Upstream, type UpstreamResponse } from '../../upstream/upstream.ts';
import type { VerdictQuestion } from '../keeper.ts';

/** Of a registry that sends all tags whatever `n` is, no more is read than its headers. */
const LIST_PATH = 'tags/list?n=1';
const MOVED = new Set([301, 308]);

export type Word = Pick<UpstreamResponse, 'status' | 'challenges'>;
type Wanted = NonNullable<VerdictQuestion['wanted']>;

/** What is asked of a repository, as a caller. */
interface Asking {
  readonly upstream: Upstream;
  readonly repository: RepositoryName;
  readonly authorization: string | undefined;
}

/** `/v2/` for a caller: 2xx, 401, 403. @throws {UpstreamError} for any other answer. */
export async function knock(upstream: Upstream, authorization: string | undefined): Promise<Word> {
  const answer = await upstream.ask({
    method: 'GET',
    repository: undefined,
    path: '',
    showing: { authorization },
    redirects: 'answer',
  });
  answer.body.destroy();
  const { status } = answer;
  if (status === 401 || status === 403) return answer;
  if (isYes(answer) && isOfRegistry(answer)) return answer;
  throw new UpstreamError('protocol', `${upstream.name}: ${status} for /v2/, as no registry has it`);
}

/**
 * Asks for the very thing, so that the upstream judges what it would judge without this edge; a HEAD costs no quota of
 * pulls. A yes must be a registry's: in front of some of them stands a login page, which strangers are sent to, or shown as 200.
 * @throws {UpstreamError} for a yes that could be anything's.
 */
export async function askFor(
  upstream: Upstream,
  { repository, path }: Wanted,
  authorization: string | undefined,
): Promise<Word> {
  const asking = { upstream, repository: repository.name, authorization };
  if (path === undefined) return await askForTags(asking);
  if (path.startsWith('blobs/')) return await askForBlob(asking, path);
  const answer = await ask(asking, 'HEAD', path, 'follow');
  return isYes(answer) && !isManifest(answer) ? nobodys(upstream, answer, 'a manifest') : answer;
}

async function askForTags(asking: Asking): Promise<Word> {
  const answer = await ask(asking, 'GET', LIST_PATH, 'answer');
  return isYes(answer) && !isJson(answer) ? nobodys(asking.upstream, answer, 'a list of tags') : answer;
}

/**
 * Where a blob's content lies is signed for a GET: that the upstream sends there is its yes, and is not followed. A place that does
 * not show whose content it is may be a login page, as may a 200: then the repository itself is asked about as well.
 */
async function askForBlob(asking: Asking, path: string): Promise<Word> {
  let answer = await ask(asking, 'HEAD', path, 'answer');
  if (isWithinRegistry(answer)) answer = await ask(asking, 'HEAD', path, 'follow');
  const digest = parseDigest(path.slice('blobs/'.length));
  if (digest === undefined)
    throw new UpstreamError('protocol', `${asking.upstream.name}: not asked for ${path}`);
  if (isYes(answer))
    return answer.headers['docker-content-digest'] === digest ? answer : await askForTags(asking);
  if (!isRedirect(answer)) return answer;
  return leadsTo(answer, hexOf(digest), asking) ? { status: 200 } : await askForTags(asking);
}

async function ask(
  { upstream, repository, authorization }: Asking,
  method: 'GET' | 'HEAD',
  path: string,
  redirects: 'answer' | 'follow',
): Promise<UpstreamResponse> {
  const headers = path.startsWith('manifests/') ? { accept: MANIFEST_ACCEPT } : {};
  const showing = { authorization };
  const response = await upstream.ask({ method, repository, path, headers, showing, redirects });
  response.body.destroy();
  return response;
}

function nobodys({ name }: Upstream, { status }: Word, what: string): never {
  throw new UpstreamError('protocol', `${name}: ${status} with what is not ${what}; maybe a login page`);
}

function isYes({ status }: Word): boolean {
  return status >= 200 && status < 300;
}

function isRedirect({ status }: Word): boolean {
  return status >= 300 && status < 400;
}

/** Of the base of the API no type is laid down: some registries send `{}`, and some nothing. */
function isOfRegistry({ headers }: UpstreamResponse): boolean {
  const version = headers['docker-distribution-api-version'] ?? '';
  return version.startsWith('registry/') || ['', 'text/plain', 'application/json'].includes(typeOf(headers));
}

function isManifest({ headers }: UpstreamResponse): boolean {
  const digest = headers['docker-content-digest'];
  return (
    (digest !== undefined && parseDigest(digest) !== undefined) || manifestKind(typeOf(headers)) !== undefined
  );
}

function isJson({ headers }: UpstreamResponse): boolean {
  return typeOf(headers) === 'application/json';
}

function typeOf(headers: UpstreamResponse['headers']): string {
  return bareMediaType(headers['content-type'] ?? '');
}

function targetOf({ headers }: UpstreamResponse): URL | null {
  return URL.parse(headers['location'] ?? '', 'http://upstream');
}

/** Elsewhere in a registry somebody has yet to judge. */
function isWithinRegistry(answer: UpstreamResponse): boolean {
  const path = targetOf(answer)?.pathname;
  return isRedirect(answer) && (MOVED.has(answer.status) || path === undefined || /^\/(v2\/|$)/.test(path));
}

/** The path of the content names it, and not only as the path that was asked for, which a login page is told to come back to. */
function leadsTo(answer: UpstreamResponse, hex: string, { repository }: Asking): boolean {
  const path = targetOf(answer)?.pathname ?? '';
  return path.includes(hex) && !/%2f|%3a/i.test(path) && !path.includes(`${repository}/blobs/`);
}
