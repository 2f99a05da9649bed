import { TooManyRequests } from '../access/refusals.ts';
import type { Limited } from '../cache/keeper.ts';

const DETAILS = {
  fills: 'too many transfers are under way for this caller',
  unknown: 'this caller has asked too often for what does not exist',
} as const satisfies Record<Limited['limit'], string>;

/**
 * 429, not what is said of things that do not exist: docker and containerd go on to their next endpoint after either, and podman
 * asks again after `Retry-After` in place of giving up.
 */
export function limited({ limit, retryAfterSeconds }: Limited): TooManyRequests {
  return new TooManyRequests(DETAILS[limit], retryAfterSeconds, limit);
}
