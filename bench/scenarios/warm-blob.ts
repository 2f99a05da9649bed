import type { Bench, Scenario, Series } from '../scenario.ts';
import { measureWarm } from '../load/warm-load.ts';
import { blobPath } from '../warm-site.ts';

const SIZES = [
  { layer: 'medium', label: '10 MB' },
  { layer: 'large', label: '100 MB' },
] as const;

const NOTE = 'bytes read in a fixed time, whole bodies or not';

export const warmBlob: Scenario = {
  name: 'warm-blob',
  about: 'throughput of blobs of 10 and 100 MB that are in the cache; 1, 8 and 64 connections, plain and TLS',
  async run(bench: Bench): Promise<readonly Series[]> {
    const site = await bench.stage.warm();
    const found: Series[] = [];
    for (const { layer, label: size } of bench.options.quick ? SIZES.slice(0, 1) : SIZES) {
      for (const connections of bench.options.quick ? [8] : [1, 8, 64]) {
        for (const secure of [false, true]) {
          const content = site.layer(layer);
          const label = `${size}, ${connections} conn., ${secure ? 'TLS' : 'plain'}`;
          const variant = {
            scenario: 'warm-blob',
            note: NOTE,
            label,
            path: blobPath(content),
            content,
            connections,
            secure,
          };
          found.push(...(await measureWarm(bench, site, { ...variant, counts: 'bytes' })));
        }
      }
    }
    return found;
  },
};
