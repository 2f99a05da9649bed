import { RegistryError, type ErrorCode } from '../oci/error-codes.ts';
import type { Answer } from './answer.ts';
import { noReferrers, type ReferrersFacts } from './listings.ts';
import type { RepositoryRoute } from './route.ts';

/** What each route says of what is not there. */
const ABSENT = {
  manifest: 'MANIFEST_UNKNOWN',
  blob: 'BLOB_UNKNOWN',
  tags: 'NAME_UNKNOWN',
  referrers: 'MANIFEST_UNKNOWN',
  upload: 'NAME_UNKNOWN',
} as const satisfies Record<RepositoryRoute['kind'], ErrorCode>;

/**
 * For who must not learn whether there is such a repository: to the byte what they would get if there were none, and nobody is
 * asked for it.
 * @throws {RegistryError} which is that answer, on most routes.
 */
export function absentAnswer(route: RepositoryRoute, facts: ReferrersFacts): Answer {
  if (route.kind === 'referrers' && !facts.pushed) return noReferrers(route, facts);
  throw new RegistryError(ABSENT[route.kind]);
}
