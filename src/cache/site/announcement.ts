import { parseTag, type Tag } from '../../oci/reference.ts';
import { parseRepositoryName } from '../../oci/repository-name.ts';
import type { RepositoryRef } from '../../oci/repository-ref.ts';
import type { PurgeSelector } from '../inventory.ts';

/** What one edge of a site tells the others: each can cost them a miss, and nothing else. */
export type Announcement =
  | { readonly kind: 'purge'; readonly selector: PurgeSelector }
  /** The tag was pushed or deleted: what was known of it is old. */
  | { readonly kind: 'tag'; readonly repository: RepositoryRef; readonly tag: Tag };

/** Resolves when the siblings that can be reached are told, or in short and bounded time; never rejects. */
export type Announce = (announcement: Announcement) => Promise<void>;

/** Reads an announcement that came from outside; undefined when it is none. */
export function parseAnnouncement(value: unknown): Announcement | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return undefined;
  if (value.kind === 'purge') {
    const selector = 'selector' in value ? parsePurge(value.selector) : undefined;
    return selector && { kind: 'purge', selector };
  }
  const selector = value.kind === 'tag' ? parsePurge(value) : undefined;
  return selector?.kind === 'tag' ? selector : undefined;
}

/** Reads a purge selector that came from outside; undefined when it is none. */
export function parsePurge(value: unknown): PurgeSelector | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return undefined;
  if (value.kind === 'all') return { kind: 'all' };
  const repository = 'repository' in value ? value.repository : undefined;
  if (typeof repository !== 'object' || repository === null) return undefined;
  const upstream = 'upstream' in repository ? repository.upstream : undefined;
  const name = parseRepositoryName('name' in repository ? String(repository.name) : '');
  if (typeof upstream !== 'string' || name === undefined) return undefined;
  if (value.kind === 'repository') return { kind: 'repository', repository: { upstream, name } };
  const tag = parseTag('tag' in value ? String(value.tag) : '');
  return value.kind === 'tag' && tag !== undefined
    ? { kind: 'tag', repository: { upstream, name }, tag }
    : undefined;
}
