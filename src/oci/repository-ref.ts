import type { Brand } from '../lib/brand.ts';
import type { RepositoryName } from './repository-name.ts';

/** A repository of one upstream: what rights, links and tags are about. */
export interface RepositoryRef {
  /** The name of a configured upstream. */
  readonly upstream: string;
  readonly name: RepositoryName;
}

/** `<upstream>/<name>`: unambiguous, since an upstream's name has no slash. */
export type RepositoryKey = Brand<string, 'RepositoryKey'>;

export function repositoryKey(repository: RepositoryRef): RepositoryKey {
  return `${repository.upstream}/${repository.name}` as RepositoryKey;
}
