import type { Bench, Scenario, Series } from '../scenario.ts';
import { measureWarm } from '../load/warm-load.ts';
import { manifestPath } from '../warm-site.ts';

const CONNECTIONS = 32;
const NOTE = `an image manifest by tag; ${CONNECTIONS} connections, kept open or a new one for each request`;

export const warmManifest: Scenario = {
  name: 'warm-manifest',
  about:
    'requests per second for a manifest by tag that is in the cache; plain and TLS, kept and new connections',
  async run(bench: Bench): Promise<readonly Series[]> {
    const site = await bench.stage.warm();
    const found: Series[] = [];
    for (const reconnect of [false, true]) {
      for (const secure of [false, true]) {
        const label = `${secure ? 'TLS' : 'plain'}${reconnect ? ', new connections' : ''}`;
        const path = manifestPath('latest');
        const variant = {
          scenario: 'warm-manifest',
          note: NOTE,
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
