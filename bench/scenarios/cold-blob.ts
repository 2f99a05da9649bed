import { alternate, series, type Samples, type Turn } from '../alternate.ts';
import { COLD_NAMES, ColdSite, type ColdImage } from '../cold-site.ts';
import { download } from '../load/download.ts';
import type { Bench, ContenderName, Scenario, Series } from '../scenario.ts';

const LINK_BYTES_PER_SECOND = 25e6;

export const coldBlob: Scenario = {
  name: 'cold-blob',
  about: 'a pull of what is not in the cache, over a link of 25 MB/s, against the same pull without a cache',
  async run(bench: Bench): Promise<readonly Series[]> {
    const { options } = bench;
    const layerBytes = options.quick ? 50e6 : 100e6;
    await using site = await ColdSite.start(bench, LINK_BYTES_PER_SECOND);
    const images = await pushAll(site, options.runs, layerBytes);
    const metrics = await alternate(COLD_NAMES, options.runs, async (name, round) => {
      bench.progress(`cold-blob: ${name}, round ${round + 1} of ${options.runs}`);
      const image = images[round];
      return image === undefined ? undefined : await pull(site, name, image);
    });
    const note = `a manifest by tag, then its blob of ${layerBytes / 1e6} MB, over a link of ${LINK_BYTES_PER_SECOND / 1e6} MB/s`;
    const about = { scenario: 'cold-blob', note };
    return [
      series(metrics, 'total', {
        ...about,
        metric: 'the whole pull',
        unit: 'ms',
        target: { of: 'direct', atMost: 1.05 },
      }),
      series(metrics, 'firstByte', { ...about, metric: 'first byte of the blob', unit: 'ms' }),
      {
        ...about,
        metric: 'first byte, more than direct',
        unit: 'ms',
        incomparable: COLD_NAMES,
        samples: overDirect(metrics.get('firstByte') ?? {}),
      },
      series(metrics, 'link', { ...about, metric: 'link bytes ÷ blob bytes', unit: 'x' }),
    ];
  },
};

/** An image a round: all contenders pull the same one, and none has seen it. */
async function pushAll(site: ColdSite, rounds: number, layerBytes: number): Promise<ColdImage[]> {
  const images: ColdImage[] = [];
  for (let round = 0; round < rounds; round += 1) images.push(await site.push(`round-${round}`, layerBytes));
  return images;
}

async function pull(site: ColdSite, name: ContenderName, image: ColdImage): Promise<Turn> {
  const before = site.linkBytes(name);
  const base = site.url(name);
  const manifest = await download(base + image.manifestPath, image.image.manifest);
  const blob = await download(base + image.blobPath, image.blob);
  await site.quiet(name);
  return {
    total: manifest.totalMs + blob.totalMs,
    firstByte: blob.firstByteMs,
    link: (site.linkBytes(name) - before) / image.blob.size,
  };
}

/** Round by round, so that a slow round does not count against anyone. */
function overDirect(samples: Samples): Samples {
  const { direct = [], ...others } = samples;
  const entries = Object.entries(others).map(([name, values]) => [
    name,
    values.map((value, round) => value - (direct[round] ?? Number.NaN)),
  ]);
  return Object.fromEntries(entries) as Samples;
}
