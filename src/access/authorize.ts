import type { GrantedRepository } from '../oci/granted.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';
import type { Caller } from './identify.ts';

/** The one maker of a {@link GrantedRepository}. Every caller whom the connection guard let in may read, until roles say otherwise. */
export function authorize(_caller: Caller, repository: RepositoryRef): GrantedRepository {
  return repository as GrantedRepository;
}
