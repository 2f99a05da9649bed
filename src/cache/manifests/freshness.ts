import { ms, seconds, type Milliseconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import { repositoryKey, type RepositoryRef } from '../../oci/repository-ref.ts';
import type { TagRecords } from '../../store/tiered-store.ts';

/*
 * Lifetimes. By digest: for ever, until evicted. Tag: fresh for `tag`, then stale: revalidated, and still served while
 * the upstream is slow (`deadline`) or cannot answer (`staleIfError`). What the upstream denies is gone at once.
 */
export interface FreshnessRules {
  readonly tag: Milliseconds;
  /** How long a client waits for a revalidation before it gets the stale answer. */
  readonly deadline: Milliseconds;
  readonly staleIfError: Milliseconds;
  readonly negative: Milliseconds;
  /** An upstream's word on who may read what. */
  readonly verdict: Milliseconds;
  /** How much longer it is taken while the upstream cannot be asked. */
  readonly verdictGrace: Milliseconds;
}

/** The rules of an upstream by its name. */
export type RulesOf = (upstream: string) => FreshnessRules;

export interface TagRecord {
  readonly digest: Digest;
  /** Wall clock of the upstream's last word on it. */
  readonly checkedAt: Milliseconds;
}

export type Age = 'fresh' | 'stale' | 'expired';

/** What is left of an upstream that is no longer configured is neither fresh nor stale. */
const NOTHING: FreshnessRules = {
  tag: ms(0),
  deadline: ms(0),
  staleIfError: ms(0),
  negative: ms(0),
  verdict: ms(0),
  verdictGrace: ms(0),
};

/** The rules as they are in force now: a reload replaces them under everybody who holds {@link of}. */
export class UpstreamRules {
  #rules: ReadonlyMap<string, FreshnessRules> = new Map();

  constructor(upstreams: Iterable<UpstreamFreshness>) {
    this.replace(upstreams);
  }

  readonly of: RulesOf = (upstream) => this.#rules.get(upstream) ?? NOTHING;

  replace(upstreams: Iterable<UpstreamFreshness>): void {
    this.#rules = new Map(Array.from(upstreams, ({ name, freshness }) => [name, freshness]));
  }
}

export interface UpstreamFreshness {
  readonly name: string;
  readonly freshness: FreshnessRules;
}

/** A record from the future (the clock was set back) is stale, never fresh for days. */
export function ageOf(record: TagRecord, now: Milliseconds, rules: FreshnessRules): Age {
  const age = now - record.checkedAt;
  if (age >= 0 && age < rules.tag) return 'fresh';
  return age < rules.staleIfError ? 'stale' : 'expired';
}

/** Of a {@link tagKey}. */
export function upstreamOfKey(key: string): string {
  return key.slice(0, key.indexOf('/'));
}

export function tagKey(repository: RepositoryRef, tag: Tag): string {
  return `${repositoryKey(repository)}:${tag}`;
}

/** 8 bytes of time, then the digest. */
export function encodeTag(record: TagRecord): Uint8Array {
  const value = Buffer.allocUnsafe(8 + record.digest.length);
  value.writeDoubleLE(record.checkedAt, 0);
  value.write(record.digest, 8, 'latin1');
  return value;
}

export function decodeTag(value: Uint8Array): TagRecord | undefined {
  if (value.byteLength < 8) return undefined;
  const record = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const digest = parseDigest(record.toString('latin1', 8));
  return digest && { digest, checkedAt: ms(record.readDoubleLE(0)) };
}

/** Clocks of two edges may differ by so much; a record from further ahead is not believed. */
const CLOCK_SKEW = seconds(5);

/** How records of one tag from several edges are told apart, for the store that has them. */
export function tagRecords(clock: Clock, rulesOf: RulesOf): TagRecords {
  return {
    fresh: (key, record) => {
      const decoded = decodeTag(record);
      const rules = rulesOf(upstreamOfKey(key));
      return decoded !== undefined && ageOf(decoded, clock.now(), rules) === 'fresh';
    },
    latest: (local, shared) => {
      const now = clock.now();
      const theirs = decodeTag(shared);
      const ours = local && decodeTag(local);
      if (theirs === undefined || !(theirs.checkedAt <= now + CLOCK_SKEW)) return local;
      if (ours !== undefined && ours.checkedAt >= theirs.checkedAt) return local;
      return theirs.checkedAt <= now ? shared : encodeTag({ ...theirs, checkedAt: now });
    },
  };
}
