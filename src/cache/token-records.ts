import type { MetadataStore, SharedMetadata } from '../store/metadata-store.ts';
import type { TokenStore } from '../upstream/upstream.ts';

/** The metadata store's tokens as the upstream client wants them; what goes in is sealed already. */
export function tokenRecords(metadata: MetadataStore, shared: SharedMetadata): TokenStore {
  return {
    get: (key) => metadata.get('tokens', key),
    latest: (key) => shared.latest('tokens', key),
    put: (key, value, expiresAt) => metadata.put('tokens', key, value, { expiresAt }),
    delete: (key) => metadata.delete('tokens', key),
  };
}
