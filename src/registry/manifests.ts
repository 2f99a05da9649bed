import type { EdgeCache } from '../cache/edge-cache.ts';
import type { CacheResult } from '../cache/keeper.ts';
import type { ManifestEntry } from '../cache/manifests/manifest-store.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { GrantedRepository } from '../oci/granted.ts';
import type { Reference } from '../oci/reference.ts';
import { limited } from './limited.ts';
import { matchesTag, NO_BODY, notAuthorized, type Answer, type RequestFacts } from './answer.ts';

/**
 * `GET` and `HEAD /v2/<name>/manifests/<reference>`. The stored type is sent as it is, whatever `Accept` says: clients
 * compare it as a string, and the bytes of a digest are the same for everybody.
 */
export async function answerManifest(
  cache: EdgeCache,
  repository: GrantedRepository,
  reference: Reference,
  facts: RequestFacts,
): Promise<Answer> {
  const answer = await cache.manifest(repository, reference);
  switch (answer.kind) {
    case 'unauthorized':
      throw notAuthorized(answer);
    case 'unknown':
      throw new RegistryError('MANIFEST_UNKNOWN');
    case 'unavailable':
      throw new RegistryError('UNAVAILABLE', answer.reason);
    case 'limited':
      throw limited(answer);
    case 'invalid':
      throw new RegistryError('MANIFEST_INVALID', answer.reason);
    case 'manifest':
      return manifestAnswer(answer, answer.result, facts);
  }
}

export function manifestAnswer(
  { digest, mediaType, content }: ManifestEntry,
  result: CacheResult,
  { head, ifNoneMatch }: Pick<RequestFacts, 'head' | 'ifNoneMatch'>,
): Answer {
  const etag = `"${digest}"`;
  if (matchesTag(ifNoneMatch, etag))
    return { status: 304, headers: { etag, 'docker-content-digest': digest }, body: NO_BODY, result };
  return {
    status: 200,
    headers: {
      'content-type': mediaType,
      'content-length': content.byteLength,
      'docker-content-digest': digest,
      etag,
    },
    body: head ? NO_BODY : { kind: 'bytes', content },
    result,
  };
}
