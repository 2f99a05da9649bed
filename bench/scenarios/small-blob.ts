import type { Bench, Scenario, Series } from '../scenario.ts';
import { measureWarm } from '../load/warm-load.ts';
import { blobPath } from '../warm-site.ts';

const CONNECTIONS = 32;
const NOTE = `a blob of 2.6 kB; ${CONNECTIONS} connections, kept open`;

export const smallBlob: Scenario = {
  name: 'small-blob',
  about: 'requests per second for a blob of 2.6 kB that is in the cache; plain and TLS',
  async run(bench: Bench): Promise<readonly Series[]> {
    const site = await bench.stage.warm();
    const content = site.layer('small');
    const found: Series[] = [];
    for (const secure of [false, true]) {
      const label = secure ? 'TLS' : 'plain';
      const variant = { scenario: 'small-blob', note: NOTE, label, path: blobPath(content), content, secure };
      found.push(
        ...(await measureWarm(bench, site, { ...variant, connections: CONNECTIONS, counts: 'requests' })),
      );
    }
    return found;
  },
};
