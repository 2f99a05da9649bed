import type { Dir, Stats } from 'node:fs';
import { lstat, opendir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { seconds } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { parseRepositoryName } from '../../oci/repository-name.ts';
import type { RepositoryRef } from '../../oci/repository-ref.ts';
import type { LocalRecords } from '../../store/embedded-store.ts';

/** A partial file that nobody came back for is given up. */
const ABANDONED_AFTER = seconds(7 * 24 * 3600);

interface FillRecord {
  readonly repository: RepositoryRef;
  readonly etag: string | undefined;
}

/** Where each partial file comes from, so that a restart can go on with it. */
export class FillRecords {
  readonly #records: LocalRecords;
  readonly #partialFolder: string;
  readonly #clock: Clock;
  readonly #known = new Map<Digest, FillRecord>();

  constructor(records: LocalRecords, partialFolder: string, clock: Clock) {
    this.#records = records;
    this.#partialFolder = partialFolder;
    this.#clock = clock;
    for (const [key, value] of records.entries()) {
      const digest = parseDigest(key);
      const record = decode(value);
      if (digest !== undefined && record !== undefined) this.#known.set(digest, record);
    }
  }

  /** The strong ETag that an earlier fill of this digest through this repository was given. */
  async started(repository: RepositoryRef, digest: Digest): Promise<string | undefined> {
    const known = this.#known.get(digest);
    const same =
      known?.repository.upstream === repository.upstream && known.repository.name === repository.name;
    return same ? known.etag : undefined;
  }

  async opened(repository: RepositoryRef, digest: Digest, etag: string | undefined): Promise<void> {
    const record = { repository, etag };
    this.#known.set(digest, record);
    await this.#records.put(digest, Buffer.from(JSON.stringify(record)));
  }

  async ended(digest: Digest): Promise<void> {
    if (this.#known.delete(digest)) await this.#records.delete(digest);
  }

  /** What the last run left unfinished. Records without a file, and old files without a record, are dropped. */
  async left(): Promise<{ repository: RepositoryRef; digest: Digest }[]> {
    const here = new Set<Digest>();
    for await (const entry of await this.#open()) {
      const digest = parseDigest(entry.name.replace('-', ':'));
      const path = join(this.#partialFolder, entry.name);
      const stats = await lstat(path);
      if (digest !== undefined && this.#known.has(digest) && stats.size > 0) here.add(digest);
      else if (this.#abandoned(stats)) await unlink(path);
    }
    const left: { repository: RepositoryRef; digest: Digest }[] = [];
    for (const [digest, { repository }] of this.#known) {
      if (here.has(digest)) left.push({ repository, digest });
      else await this.ended(digest);
    }
    return left;
  }

  #open(): Promise<Dir> {
    return opendir(this.#partialFolder);
  }

  #abandoned(stats: Stats): boolean {
    return stats.size === 0 || this.#clock.now() - stats.mtimeMs > ABANDONED_AFTER;
  }
}

function decode(value: Uint8Array): FillRecord | undefined {
  try {
    const parsed = JSON.parse(Buffer.from(value).toString()) as {
      repository?: { upstream?: unknown; name?: unknown };
      etag?: unknown;
    };
    const name = parseRepositoryName(String(parsed.repository?.name));
    const upstream = parsed.repository?.upstream;
    if (name === undefined || typeof upstream !== 'string') return undefined;
    return {
      repository: { upstream, name },
      etag: typeof parsed.etag === 'string' ? parsed.etag : undefined,
    };
  } catch {
    // A damaged record is no record: its partial file is picked up by the next pull of that digest instead.
    return undefined;
  }
}
