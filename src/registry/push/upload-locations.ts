import { createHmac, timingSafeEqual } from 'node:crypto';
import { RegistryError } from '../../oci/error-codes.ts';
import type { RepositoryName } from '../../oci/repository-name.ts';

/** An upstream that may be pushed to. */
export interface PushUpstream {
  readonly name: string;
  /** Its first URL alone: an upload lives on one host. A path is a prefix of every repository. */
  readonly url: URL;
  /** Seals upload locations; the same in every worker and after a restart. */
  readonly sessionKey: Uint8Array;
}

/** One repository, as the upstream and as the client call it. */
export interface TwoNames {
  readonly upstream: RepositoryName;
  readonly client: RepositoryName;
  readonly namespace: string | undefined;
}

const MAX_LOCATION_LENGTH = 3000;
/** What the route lets through, coming back. */
const SESSION = /^[\w.~-]+$/;
const QUERY = /^[\w.~!$&()*+,;=:@/?%-]*$/;
/** In front of a sealed session. */
const SEAL = '~';
const MAC_LENGTH = 22;

/**
 * The `Location` of an upload, there and back, without a memory of it: any worker takes up what another began.
 *
 * Most registries answer `/v2/<name>/blobs/uploads/<session>?<state>`; then the client gets the same under the name by
 * which it addressed this edge. Others (GHCR, Google's) have paths of their own; those are sealed into a session, so that what
 * comes back is what the upstream said about this very repository and not what a client would like to have asked.
 * A location on another origin is refused: the client's credentials and bytes go to the upstream that was configured.
 */
export class UploadLocations {
  readonly #upstream: PushUpstream;
  readonly #names: TwoNames;

  constructor(upstream: PushUpstream, names: TwoNames) {
    this.#upstream = upstream;
    this.#names = names;
  }

  /** Path of the repository at the upstream, or of what is below it. */
  path(below: string): string {
    return `/v2/${this.repository(this.#names.upstream)}/${below}`;
  }

  /** A repository's name as the registry behind the upstream's URL knows it. */
  repository(name: RepositoryName): string {
    return `${this.#upstream.url.pathname.replace(/\/*$/, '/').slice(1)}${name}`;
  }

  /** Path at this edge, for a `Location`. */
  here(below: string, search = ''): string {
    const { client, namespace } = this.#names;
    const ns = namespace === undefined ? '' : `ns=${encodeURIComponent(namespace)}`;
    const query = [search, ns].filter((part) => part !== '').join('&');
    return `/v2/${client}/${below}${query === '' ? '' : `?${query}`}`;
  }

  /** @throws {RegistryError} BAD_UPSTREAM when it leads elsewhere, or cannot be told not to. */
  forClient(location: string): string {
    const [path, search] = this.#ownTarget(location);
    const uploads = this.path('blobs/uploads/');
    const session = path.startsWith(uploads) ? path.slice(uploads.length) : '';
    const plain = SESSION.test(session) && !session.startsWith(SEAL) && !hasNamespace(search);
    return plain
      ? this.here(`blobs/uploads/${session}`, search)
      : this.here(`blobs/uploads/${this.#sealed(search === '' ? path : `${path}?${search}`)}`);
  }

  /**
   * The target at the upstream, of a session and a query as the client sent them.
   * @throws {RegistryError} BLOB_UPLOAD_UNKNOWN for a session that this edge has not given out for the repository.
   */
  forUpstream(session: string, search: string): string {
    const query = withoutNamespace(search);
    const target = session.startsWith(SEAL) ? this.#unsealed(session) : this.path(`blobs/uploads/${session}`);
    if (query === '') return target;
    return `${target}${target.includes('?') ? '&' : '?'}${query}`;
  }

  /** Path and query of a location on the upstream's own origin, exactly as written. */
  #ownTarget(location: string): readonly [path: string, search: string] {
    const { url } = this.#upstream;
    const target = location.length > MAX_LOCATION_LENGTH ? null : URL.parse(location, url.href);
    if (target === null) throw refused('an upload location that is no usable URL');
    if (target.origin !== url.origin || target.username !== '' || target.password !== '')
      throw refused(`an upload location on ${target.origin}, not on ${url.origin}`);
    // What the URL parser mends (dot segments, backslashes, blanks, `//host`) is nothing that a registry sends.
    const written = location.replace(/^https?:\/\/[^/?#\\]*/i, '');
    const path = target.pathname;
    const search = target.search.slice(1);
    const mended = path + target.search !== written || path.startsWith('//') || !QUERY.test(search);
    if (mended) throw refused('an upload location that is not plainly written');
    return [path, search];
  }

  #sealed(target: string): string {
    return `${SEAL}${this.#mac(target)}${Buffer.from(target).toString('base64url')}`;
  }

  #unsealed(session: string): string {
    const mac = Buffer.from(session.slice(SEAL.length, SEAL.length + MAC_LENGTH));
    const target = Buffer.from(session.slice(SEAL.length + MAC_LENGTH), 'base64url').toString();
    const expected = Buffer.from(this.#mac(target));
    if (mac.byteLength === expected.byteLength && timingSafeEqual(mac, expected)) return target;
    throw new RegistryError('BLOB_UPLOAD_UNKNOWN', 'this edge has not given out such an upload');
  }

  /** 128 bits, about the upstream and the repository as well. */
  #mac(target: string): string {
    const { name, url, sessionKey } = this.#upstream;
    const said = [name, url.origin, this.path(''), target].join('\n');
    return createHmac('sha256', sessionKey).update(said).digest('base64url').slice(0, MAC_LENGTH);
  }
}

/** `ns` is between the client and this edge; everything else goes back as the registry said it. */
function withoutNamespace(search: string): string {
  return search
    .split('&')
    .filter((parameter) => !hasNamespace(parameter))
    .join('&');
}

function hasNamespace(search: string): boolean {
  return new URLSearchParams(search).has('ns');
}

function refused(what: string): RegistryError {
  return new RegistryError(
    'BAD_UPSTREAM',
    `the upstream named ${what}; pushes go to the configured URL of the upstream only`,
  );
}
