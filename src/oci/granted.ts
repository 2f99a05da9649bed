import type { Brand } from '../lib/brand.ts';
import type { RepositoryRef } from './repository-ref.ts';

/** A repository that the caller at hand may use as the request does. Made by `access/authorize.ts` alone; the cache takes nothing less. */
export type GrantedRepository = Brand<RepositoryRef, 'Granted'>;
