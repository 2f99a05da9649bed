import type { Brand } from '../lib/brand.ts';
import type { RepositoryRef } from './repository-ref.ts';

/** For whom the cache asks an upstream. Goes to the keeper with a question, and nowhere else: never kept, never logged. */
export interface Asker {
  /** By what they are counted (`access/caller-key.ts`). */
  readonly caller: string;
  /** What the client shows the upstream, empty for nothing; with `auth.mode: upstream` only, and always then. */
  readonly authorization?: string;
}

/** A repository that the caller at hand may use as the request does. Made by `access/authorize.ts` alone; the cache takes nothing less. */
export type GrantedRepository = Brand<
  RepositoryRef & {
    readonly asker: Asker;
    /** What let the caller in, for the record. */
    readonly by: string;
  },
  'Granted'
>;
