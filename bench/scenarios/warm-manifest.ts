import type { Bench, Scenario, Series } from '../scenario.ts';
import { measureWarm } from '../load/warm-load.ts';
import { manifestPath } from '../warm-site.ts';

const CONNECTIONS = 32;

export const warmManifest: Scenario = {
  name: 'warm-manifest',
  about:
    'requests per second for a manifest by tag that is in the cache; plain and TLS, kept and new connections',
  async run(bench: Bench): Promise<readonly Series[]> {
    const site = await bench.stage.warm();
    const found: Series[] = [];
    for (const reconnect of [false, true]) {
      for (const secure of [false, true]) {
        const label = `by tag, ${CONNECTIONS} connections, ${secure ? 'TLS' : 'plain'}${reconnect ? ', new each' : ''}`;
        const path = manifestPath('latest');
        const variant = {
          scenario: 'warm-manifest',
          label,
          path,
          content: site.image.manifest,
          secure,
          reconnect,
        };
        found.push(
          ...(await measureWarm(bench, site, { ...variant, connections: CONNECTIONS, counts: 'requests' })),
        );
      }
    }
    return found;
  },
};
