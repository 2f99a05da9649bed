import type { Milliseconds } from '../../lib/brand.ts';
import type { Digest } from '../../oci/digest.ts';
import { nextPage, pageQuery, upstreamQuery, type Page } from '../../oci/page.ts';
import { bareMediaType } from '../../oci/media-type.ts';
import {
  MAX_REFERRERS_BYTES,
  ofArtifactType,
  parseReferrers,
  referrersTag,
  REFERRERS_MEDIA_TYPE,
  type Referrer,
} from '../../oci/referrers.ts';
import type { RepositoryRef } from '../../oci/repository-ref.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { Asker } from '../../oci/granted.ts';
import { askedAs } from '../verdicts/asked-as.ts';
import type { ManifestCache } from '../manifests/manifest-cache.ts';
import type { KeptPage, ListCache } from './list-cache.ts';
import { askForList, type Asked, type PagedList } from './paged-list.ts';

export interface ReferrerSource {
  readonly prefix: string;
  readonly upstream: Upstream;
  readonly repository: RepositoryRef;
  readonly digest: Digest;
  readonly artifactType: string | undefined;
  /**
   * Clients push to this upstream through this edge. Then they have to learn that it has no referrers API, since it is
   * they who must keep the tag of the fallback up to date; otherwise the edge reads that tag for them.
   */
  readonly pushed: boolean;
  readonly manifests: ManifestCache;
  readonly asker: Asker | undefined;
  readonly received: (bytes: number) => void;
}

/** A page of the referrers of a digest, from the referrers API or from the tag that stands in for it. */
export class ReferrerPages implements PagedList {
  readonly prefix: string;
  readonly key: string;
  readonly #source: ReferrerSource;
  readonly #page: Page;
  readonly #cache: ListCache;
  readonly #era: number;

  constructor(source: ReferrerSource, page: Page, cache: ListCache) {
    const { prefix, artifactType = '' } = source;
    this.prefix = prefix;
    this.key = `${prefix}?${pageQuery(page).toString()} ${artifactType}`;
    this.#source = source;
    this.#page = page;
    this.#cache = cache;
    this.#era = cache.era;
  }

  kept(maxAge: Milliseconds): KeptPage | undefined {
    return this.#cache.get(this.key, maxAge);
  }

  async ask(): Promise<Asked> {
    const { upstream, repository, digest, artifactType, asker, received } = this.#source;
    const query = upstreamQuery(this.#page);
    if (artifactType !== undefined) query.set('artifactType', artifactType);
    const body = await askForList(upstream, {
      repository: repository.name,
      path: `referrers/${digest}`,
      query,
      accept: REFERRERS_MEDIA_TYPE,
      as: askedAs(upstream, asker),
      maxBytes: MAX_REFERRERS_BYTES,
      received,
    });
    if (body === 401 || body === 403) return { kind: 'unknown' };
    if (typeof body === 'object' && 'kind' in body) return body;
    // No route of that name, or a page for people in its place, is how registries say that they have no such API.
    if (typeof body === 'number' || !isIndex(body.headers['content-type'])) return await this.#fallBack();
    const referrers = parseReferrers(body.content, digest);
    const next = nextPage(body.headers['link'], this.#page, ['artifactType']);
    const filtered = hasFiltered(body.headers['oci-filters-applied']);
    return this.#keep({ entries: this.#encode(referrers, filtered), next });
  }

  drop(): void {
    this.#cache.delete(this.key);
  }

  async known(): Promise<KeptPage | undefined> {
    const found = await this.#tagged();
    return found.kind === 'page' ? found.page : undefined;
  }

  async #fallBack(): Promise<Asked> {
    if (this.#source.pushed) return { kind: 'unknown' };
    const found = await this.#tagged();
    if (found.kind === 'page') return this.#keep(found.page);
    // Nothing under the tag: nobody has attached anything.
    return found.kind === 'unknown'
      ? this.#keep({ entries: this.#encode([], true), next: undefined })
      : found;
  }

  async #tagged(): Promise<Asked> {
    const { repository, digest, manifests, asker } = this.#source;
    const reference = { kind: 'tag', tag: referrersTag(digest) } as const;
    const answer = await manifests.manifest({ repository, reference, ...(asker && { asker }) });
    if (answer.kind !== 'manifest') return answer;
    // Somebody's image under such a name says nothing about the digest.
    if (!isIndex(answer.mediaType)) return { kind: 'unknown' };
    const referrers = parseReferrers(answer.content, digest);
    return { kind: 'page', page: { entries: this.#encode(referrers, false), next: undefined } };
  }

  #encode(referrers: readonly Referrer[], filtered: boolean): Uint8Array {
    const { artifactType } = this.#source;
    const all = artifactType === undefined || filtered;
    return Buffer.from(JSON.stringify(all ? referrers : ofArtifactType(referrers, artifactType)));
  }

  #keep(page: KeptPage): Asked {
    this.#cache.put(this.key, page, this.#era);
    return { kind: 'page', page };
  }
}

function isIndex(contentType: string | undefined): boolean {
  return bareMediaType(contentType ?? '') === REFERRERS_MEDIA_TYPE;
}

function hasFiltered(header: string | undefined): boolean {
  return (header ?? '').split(',').some((filter) => filter.trim() === 'artifactType');
}
