import { createHash } from 'node:crypto';
import type { Asker } from '../../oci/granted.ts';
import type { Showing, Upstream } from '../../upstream/upstream.ts';

/**
 * As whom an upstream is asked. What it gives may be anybody's who may read the repository; its no is for those alone who are
 * asked for as the same.
 */
export interface AskedAs {
  /** Empty for the edge itself; of a caller a hash of what they show. In memory only. */
  readonly key: string;
  readonly showing?: Showing;
}

export const AS_THE_EDGE: AskedAs = { key: '' };

/** As the edge where it has credentials for the upstream, else as the caller who asks. */
export function askedAs(upstream: Upstream | undefined, asker: Asker | undefined): AskedAs {
  const shown = asker?.authorization;
  if (shown === undefined || upstream?.ownCredentials !== false) return AS_THE_EDGE;
  const key = createHash('sha256').update(shown).digest('base64url');
  return { key, showing: { authorization: shown === '' ? undefined : shown } };
}

/** Where a no to this asker is remembered. */
export function denialKey(key: string, as: AskedAs): string {
  return as.key === '' ? key : `${key} ${as.key}`;
}
