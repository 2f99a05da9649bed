import type { MetadataStore } from '../store/metadata-store.ts';
import type { TokenStore } from '../upstream/upstream.ts';

/** The metadata store's tokens as the upstream client wants them; what goes in is sealed already. */
export function tokenRecords(metadata: MetadataStore): TokenStore {
  return {
    get: (key) => metadata.get('tokens', key),
    put: (key, value, expiresAt) => metadata.put('tokens', key, value, { expiresAt }),
    delete: (key) => metadata.delete('tokens', key),
  };
}
