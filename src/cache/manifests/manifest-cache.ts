import { attempt } from '../../lib/attempt.ts';
import type { Clock } from '../../lib/clock.ts';
import { askOncePerSite, COLD_PATIENCE, type SiteQuestion } from '../../lib/leases.ts';
import { ms, type Milliseconds } from '../../lib/brand.ts';
import { within } from '../../lib/within.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { ManifestError, MAX_MANIFEST_BYTES } from '../../oci/manifest.ts';
import { MANIFEST_ACCEPT } from '../../oci/media-type.ts';
import type { Tag } from '../../oci/reference.ts';
import { repositoryKey, type RepositoryRef } from '../../oci/repository-ref.ts';
import { manifestKey } from '../../store/blob-index.ts';
import type { MetadataStore } from '../../store/metadata-store.ts';
import { UpstreamError, type Upstream, type UpstreamResponse } from '../../upstream/upstream.ts';
import { ageOf, tagKey, type RulesOf, type TagRecord } from './freshness.ts';
import { reasonFor } from '../reason-for.ts';
import type { CacheResult, ManifestAnswer, ManifestQuestion } from '../keeper.ts';
import type { Departures, MissCause } from '../departures.ts';
import type { Links } from '../links.ts';
import { DigestMismatch, type ManifestEntry, type ManifestStore } from './manifest-store.ts';
import type { NegativeCache } from '../negative-cache.ts';
import type { Site } from '../site/site.ts';
import { KnownTags, type TagEra } from './known-tags.ts';
import { ANSWER_DEADLINE, TOO_SLOW } from '../answer-deadline.ts';
import { readBody } from '../../lib/read-body.ts';
import { askedAs, denialKey, type AskedAs } from '../verdicts/asked-as.ts';
import { SharedAnswers } from '../verdicts/shared-answers.ts';

export interface ManifestCacheEvents {
  /** The upstream's manifest is wrong or breaks the rules. */
  rejected(repository: RepositoryRef, error: ManifestError): void;
  unanswered(repository: RepositoryRef, error: UpstreamError): void;
  /** The upstream has to send it. */
  missed(cause: MissCause): void;
  /** Bytes of a manifest came from the upstream. */
  received(bytes: number): void;
  storeFailed(error: unknown): void;
}

export interface ManifestCacheParts {
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly manifests: ManifestStore;
  readonly metadata: MetadataStore;
  readonly site: Site;
  readonly links: Links;
  readonly departures: Departures;
  readonly negative: NegativeCache;
  readonly clock: Clock;
  readonly rulesOf: RulesOf;
  readonly events: ManifestCacheEvents;
}

const UNKNOWN = { kind: 'unknown' } as const;

/** What an upstream is asked, and by which key it is known. */
interface Question {
  readonly repository: RepositoryRef;
  readonly reference: Tag | Digest;
  /** Of a manifest that was asked for by digest. */
  readonly expected: Digest | undefined;
  readonly key: string;
  readonly as: AskedAs;
}

/** Manifests by tag and by digest, in the keeper: whatever a worker could not answer for itself. */
export class ManifestCache {
  readonly #parts: ManifestCacheParts;
  readonly #tags: KnownTags;
  readonly #questions = new SharedAnswers<ManifestAnswer>();

  constructor(parts: ManifestCacheParts) {
    this.#parts = parts;
    const storeFailed = (error: unknown): void => parts.events.storeFailed(error);
    this.#tags = new KnownTags({ ...parts, storeFailed });
  }

  /** Answers within {@link ANSWER_DEADLINE} whatever the upstream does: docker and podman would wait for ever. */
  async manifest({ repository, reference, asker }: ManifestQuestion): Promise<ManifestAnswer> {
    const as = askedAs(this.#parts.upstreams.get(repository.upstream), asker);
    const asked =
      reference.kind === 'digest'
        ? this.#byDigest(repository, reference.digest, as)
        : this.#byTag(repository, reference.tag, as);
    return (await within(this.#parts.clock, ANSWER_DEADLINE, asked)) ?? TOO_SLOW;
  }

  /** The tag was pushed or deleted: forgotten here and on the sibling edges; the next question asks the upstream. */
  async dropTag(repository: RepositoryRef, tag: Tag): Promise<void> {
    await this.forgetTag(repository, tag);
    await this.#parts.site.announce({ kind: 'tag', repository, tag });
  }

  /** As {@link dropTag}, on this edge only: also that something was not there, and what is just being asked. */
  async forgetTag(repository: RepositoryRef, tag: Tag): Promise<void> {
    const key = tagKey(repository, tag);
    this.#parts.negative.deleteOf(repository);
    this.#questions.forget(key);
    await this.#tags.drop(key);
  }

  /** What the siblings announced may have been missed: every tag is asked for again before it counts as fresh. */
  async doubtTags(own: MetadataStore): Promise<void> {
    await this.#tags.doubtAll(own);
  }

  /** A client put or deleted this at the upstream. Never fails: the push itself has succeeded. */
  async pushed({ repository, reference }: ManifestQuestion, gone: boolean): Promise<void> {
    if (reference.kind === 'tag') {
      await this.#attempt(() => this.dropTag(repository, reference.tag));
      return;
    }
    this.#parts.negative.deleteStarting(digestKey(repository, reference.digest));
    if (gone) await this.#attempt(() => this.#parts.manifests.unlink(repository, reference.digest));
  }

  async #byDigest(repository: RepositoryRef, digest: Digest, as: AskedAs): Promise<ManifestAnswer> {
    const { negative } = this.#parts;
    const key = digestKey(repository, digest);
    if (negative.has(denialKey(key, as))) return UNKNOWN;
    return await this.#once(key, as, async (alone) => {
      const entry =
        (await this.#linkedManifest(repository, digest)) ??
        (await this.#attempt(() => this.#parts.manifests.restore(repository, digest)));
      if (entry !== undefined) return found(entry, 'hit');
      return await this.#oncePerSite(key, COLD_PATIENCE, alone, {
        look: async () => {
          const entry = await this.#linkedManifest(repository, digest);
          return entry && found(entry, 'hit');
        },
        ask: async () => {
          this.#parts.events.missed(await this.#causeOf(digest));
          return await this.#fetch({ repository, reference: digest, expected: digest, key, as });
        },
      });
    });
  }

  async #byTag(repository: RepositoryRef, tag: Tag, as: AskedAs): Promise<ManifestAnswer> {
    const { negative, clock, rulesOf } = this.#parts;
    const key = tagKey(repository, tag);
    if (negative.has(denialKey(key, as))) return UNKNOWN;
    const rules = rulesOf(repository.upstream);
    const question: Question = { repository, reference: tag, expected: undefined, key, as };
    const askedAt = clock.monotonic();
    const record = await this.#tags.get(key);
    const age = record && ageOf(record, clock.now(), rules);
    const entry = record && (await this.#linkedManifest(repository, record.digest));
    if (record === undefined || entry === undefined || age === 'expired') {
      return await this.#once(key, as, (alone) =>
        this.#oncePerSite(key, COLD_PATIENCE, alone, {
          look: () => this.#toldToSibling(repository, key, 'hit'),
          ask: async () => {
            const cause =
              record === undefined ? 'new' : age === 'expired' ? age : await this.#causeOf(record.digest);
            this.#parts.events.missed(cause);
            return await this.#fetch(question);
          },
        }),
      );
    }
    // Another worker's question has just been answered.
    if (age === 'fresh') return found(entry, 'hit');
    const word = this.#once(key, as, (alone) =>
      this.#oncePerSite(key, rules.deadline, alone, {
        look: () => this.#toldToSibling(repository, key, 'revalidated'),
        ask: () => this.#revalidate(question, record, entry),
      }),
    );
    // Waits for the upstream's word until the deadline, then serves what is known; the question goes on behind.
    const left = ms(Math.max(0, askedAt + rules.deadline - clock.monotonic()));
    const answer = await within(clock, left, word);
    return answer === undefined || answer.kind === 'unavailable' ? found(entry, 'stale') : answer;
  }

  async #revalidate(question: Question, record: TagRecord, entry: ManifestEntry): Promise<ManifestAnswer> {
    const { repository, key } = question;
    const { era } = this.#tags;
    const asked = await this.#ask('HEAD', question);
    if ('kind' in asked) return asked.kind === 'unknown' ? await this.#gone(question, era) : asked;
    asked.body.destroy();
    const announced = parseDigest(asked.headers['docker-content-digest'] ?? '');
    if (announced === record.digest) {
      await this.#tags.put(key, record.digest, era);
      return found(entry, 'revalidated');
    }
    const moved = announced && (await this.#linkedManifest(repository, announced));
    if (moved !== undefined) {
      await this.#tags.put(key, moved.digest, era);
      return found(moved, 'revalidated');
    }
    this.#parts.events.missed('moved');
    return await this.#fetch(question);
  }

  /** Why a manifest that was asked for is not served from here. */
  async #causeOf(digest: Digest): Promise<MissCause> {
    const here = await this.#attempt(() => this.#parts.manifests.get(digest));
    return here === undefined ? this.#parts.departures.causeOf(manifestKey(digest)) : 'unlinked';
  }

  async #fetch(question: Question): Promise<ManifestAnswer> {
    const { repository, expected, key } = question;
    const { era } = this.#tags;
    const asked = await this.#ask('GET', question);
    if ('kind' in asked) return asked.kind === 'unknown' ? await this.#gone(question, era) : asked;
    try {
      const content = await readBody(asked.body, MAX_MANIFEST_BYTES);
      if (content === undefined) throw new ManifestError(`the manifest is over ${MAX_MANIFEST_BYTES} bytes`);
      this.#parts.events.received(content.byteLength);
      const announced = parseDigest(asked.headers['docker-content-digest'] ?? '');
      if (announced !== undefined && expected !== undefined && announced !== expected)
        throw new DigestMismatch(expected);
      const entry = await this.#parts.manifests.admit(
        repository,
        content,
        asked.headers['content-type'],
        expected ?? announced,
      );
      if (expected === undefined) await this.#tags.put(key, entry.digest, era);
      return found(entry, 'miss');
    } catch (error) {
      return this.#refused(repository, error);
    }
  }

  #refused(repository: RepositoryRef, error: unknown): ManifestAnswer {
    if (!(error instanceof ManifestError))
      return { kind: 'unavailable', reason: 'the upstream broke off the manifest' };
    this.#parts.events.rejected(repository, error);
    if (error instanceof DigestMismatch) return { kind: 'unavailable', reason: error.message };
    return { kind: 'invalid', reason: error.message };
  }

  async #ask(
    method: 'GET' | 'HEAD',
    { repository, reference, as }: Question,
  ): Promise<UpstreamResponse | Exclude<ManifestAnswer, { kind: 'manifest' | 'invalid' }>> {
    const upstream = this.#parts.upstreams.get(repository.upstream);
    if (upstream === undefined) return UNKNOWN;
    try {
      const response = await upstream.ask({
        method,
        repository: repository.name,
        path: `manifests/${reference}`,
        headers: { accept: MANIFEST_ACCEPT },
        showing: as.showing,
      });
      if (response.status === 200) return response;
      response.body.destroy();
      // What the caller shows has come to its end since they were judged: they can get something newer.
      if (response.challenges !== undefined) return { kind: 'unauthorized', challenges: response.challenges };
      if ([401, 403, 404, 410].includes(response.status)) return UNKNOWN;
      return { kind: 'unavailable', reason: `the upstream answered ${response.status}` };
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      this.#parts.events.unanswered(repository, error);
      return { kind: 'unavailable', reason: reasonFor(error) };
    }
  }

  /**
   * The upstream's no is the truth: the tag goes, and nothing stale is served for it. Its no to one caller is about that
   * caller alone.
   */
  async #gone({ repository, key, as }: Question, era: TagEra): Promise<ManifestAnswer> {
    if (era === this.#tags.era) this.#parts.negative.add(denialKey(key, as), repository.upstream);
    if (as.key === '') await this.#tags.remove(key);
    return UNKNOWN;
  }

  /** The tag as another edge of the site has just got it from the upstream. */
  async #toldToSibling(
    repository: RepositoryRef,
    key: string,
    result: CacheResult,
  ): Promise<ManifestAnswer | undefined> {
    const { clock, rulesOf } = this.#parts;
    const rules = rulesOf(repository.upstream);
    const record = await this.#tags.get(key);
    if (record === undefined || ageOf(record, clock.now(), rules) !== 'fresh') return undefined;
    const entry = await this.#linkedManifest(repository, record.digest);
    return entry && found(entry, result);
  }

  async #linkedManifest(repository: RepositoryRef, digest: Digest): Promise<ManifestEntry | undefined> {
    const { links, manifests } = this.#parts;
    return await this.#attempt(async () =>
      (await links.has(repository, digest))
        ? ((await manifests.get(digest)) ?? (await manifests.adopt(repository, digest)))
        : undefined,
    );
  }

  #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    return attempt(work, (error) => this.#parts.events.storeFailed(error));
  }

  #oncePerSite(
    key: string,
    longest: Milliseconds,
    alone: boolean,
    { look, ask }: Pick<SiteQuestion<ManifestAnswer>, 'look' | 'ask'>,
  ): Promise<ManifestAnswer> {
    // Who was not helped by another's question has no reason to wait for one of another edge.
    if (alone) return ask(() => undefined);
    const { site, clock } = this.#parts;
    const patience = ms(Math.min(longest, COLD_PATIENCE));
    return askOncePerSite(site.leases, clock, { question: `manifest ${key}`, patience, look, ask });
  }

  async #once(
    key: string,
    as: AskedAs,
    work: (alone: boolean) => Promise<ManifestAnswer>,
  ): Promise<ManifestAnswer> {
    let asked = false;
    const answer = await this.#questions.run(key, as, (alone) => {
      asked = true;
      return work(alone);
    });
    return asked || answer.kind !== 'manifest' || answer.result !== 'miss'
      ? answer
      : { ...answer, result: 'collapsed' };
  }
}

function digestKey(repository: RepositoryRef, digest: Digest): string {
  return `${repositoryKey(repository)}@${digest}`;
}

function found(entry: ManifestEntry, result: CacheResult): ManifestAnswer {
  return { kind: 'manifest', ...entry, result };
}
