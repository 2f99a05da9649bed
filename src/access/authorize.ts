import type { GrantedRepository } from '../oci/granted.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import type { Caller } from './identify.ts';

/** What a request does to a repository. */
export type Action = 'pull' | 'push' | 'delete';

/**
 * The one maker of a {@link GrantedRepository}. Until roles say otherwise, every caller whom the connection guard let in
 * may do all; a push is the upstream's to grant besides, by the caller's own credentials.
 */
export function authorize(_caller: Caller, repository: RepositoryRef, _action: Action): GrantedRepository {
  return repository as GrantedRepository;
}
