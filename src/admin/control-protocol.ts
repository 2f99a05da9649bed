import type { PurgeSelector } from '../cache/inventory.ts';
import { parseTag } from '../oci/reference.ts';
import { parseRepositoryName } from '../oci/repository-name.ts';

export const CONTROL_PATHS = {
  images: '/images',
  stats: '/stats',
  purge: '/purge',
  reload: '/reload',
  reloadCertificates: '/reload/certificates',
} as const;

/** What a reload has done. */
export interface ReloadReport {
  /** Keys of the configuration that have another value now. */
  readonly changed: readonly string[];
  /** Keys that have another value in the file, which comes into force with a restart. */
  readonly needRestart: readonly string[];
  /** Other certificates are served than before. */
  readonly newCertificates: boolean;
}

/** What may be asked of an edge that runs. Both reject with a reason for the operator, and have changed nothing then. */
export interface ReloadControl {
  reload(): Promise<ReloadReport>;
  reloadCertificates(): Promise<ReloadReport>;
}

/** Reads a selector that came over the socket; undefined when it is none. */
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
