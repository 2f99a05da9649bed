import { FREE_LEASES, type Leases } from '../../lib/leases.ts';
import { NOTHING_SHARED, type SharedMetadata } from '../../store/metadata-store.ts';
import type { Announce } from './announcement.ts';

/**
 * The other edges of the site, as this one sees them. Nothing of it is on the way of a hit, and where it fails or is
 * slow, this edge does as if it were alone.
 */
export interface Site {
  /** One edge asks the upstream, the others take what it was told. */
  readonly leases: Leases;
  /** Where they take it from. */
  readonly shared: SharedMetadata;
  readonly announce: Announce;
}

export const ALONE: Site = {
  leases: FREE_LEASES,
  shared: NOTHING_SHARED,
  announce: async () => undefined,
};
