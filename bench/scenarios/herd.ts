import { writeFile } from 'node:fs/promises';
import { alternate, series, type Turn } from '../alternate.ts';
import { ColdSite, type ColdImage } from '../cold-site.ts';
import { download } from '../load/download.ts';
import { runHerd } from '../load/herd.ts';
import { summarise } from '../report/statistics.ts';
import type { Bench, ContenderName, Scenario, Series } from '../scenario.ts';

const LINK_BYTES_PER_SECOND = 40e6;
const NAMES = ['pierhead', 'nginx', 'docker-registry'] as const;
/** docker-registry fetches once for each client: with the whole herd, one round would take ten minutes. */
const SMALL_HERD = 16;
const MAX_ROUNDS = 3;
const NOTE = `docker-registry had ${SMALL_HERD} clients and one round only, because its traffic grows with the clients; nginx had the whole herd`;

export const herd: Scenario = {
  name: 'herd',
  about: 'many clients at once want the same blob, which is not in the cache, over a link of 40 MB/s',
  async run(bench: Bench): Promise<readonly Series[]> {
    const { options } = bench;
    const clients = options.quick ? 50 : 200;
    const layerBytes = options.quick ? 20e6 : 100e6;
    const rounds = Math.min(options.runs, MAX_ROUNDS);
    await using site = await ColdSite.start(bench, LINK_BYTES_PER_SECOND);
    const images: ColdImage[] = [];
    for (let round = 0; round < rounds; round += 1)
      images.push(await site.push(`round-${round}`, layerBytes));
    const metrics = await alternate(NAMES, rounds, async (name, round) => {
      const image = images[round];
      if (image === undefined || (name === 'docker-registry' && round > 0)) return undefined;
      const size = name === 'docker-registry' ? Math.min(SMALL_HERD, clients) : clients;
      bench.progress(`herd: ${size} clients at ${name}, round ${round + 1} of ${rounds}`);
      return await stampede(site, name, image, size);
    });
    const what = `${clients} clients, one blob of ${layerBytes / 1e6} MB over a link of ${LINK_BYTES_PER_SECOND / 1e6} MB/s`;
    const about = { scenario: 'herd', note: `${what}; ${NOTE}` };
    const timed = { ...about, incomparable: ['docker-registry'] } as const;
    // Headers count as bytes too: a thousandth of the smallest blob here is more than all of them.
    const once = { of: 'ours', atMost: 1.001, atLeast: 1 } as const;
    return [
      series(metrics, 'link', {
        ...about,
        metric: 'link bytes ÷ blob bytes',
        unit: 'x',
        target: once,
      }),
      series(metrics, 'gets', { ...about, metric: 'GETs at the central registry', unit: 'GETs' }),
      series(metrics, 'firstByte', { ...timed, metric: 'first byte, median client', unit: 'ms' }),
      series(metrics, 'last', { ...timed, metric: 'last byte, last client', unit: 'ms' }),
    ];
  },
};

async function stampede(
  site: ColdSite,
  name: ContenderName,
  image: ColdImage,
  clients: number,
): Promise<Turn> {
  const contentFile = site.folder.join('content');
  await writeFile(contentFile, image.blob.bytes);
  const base = site.url(name);
  // As in a pull, the manifest has come through before.
  await download(base + image.manifestPath, image.image.manifest);
  await site.quiet(name);
  const bytes = site.linkBytes(name);
  const gets = site.blobGets(image.blob);
  const report = await runHerd({ url: base + image.blobPath, clients, contentFile });
  await site.quiet(name);
  return {
    link: (site.linkBytes(name) - bytes) / image.blob.size,
    gets: site.blobGets(image.blob) - gets,
    firstByte: summarise(report.firstByteMs).median,
    last: summarise(report.totalMs).high,
  };
}
