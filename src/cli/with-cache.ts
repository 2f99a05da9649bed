import { existsSync } from 'node:fs';
import { controlOf, isServed, type CacheControl } from '../admin/control-client.ts';
import { openStoppedCache, type StoppedCache } from '../app-offline.ts';
import type { Config } from '../config/config.ts';
import { upstreamNames } from '../config/upstreams.ts';
import { imageText, parseImage, type ImageReference } from '../oci/image-reference.ts';
import { StoreLayout } from '../store/layout.ts';
import { UsageError } from './usage-error.ts';

/** Asks the edge that runs on the storage folder; without one, opens the folder itself. */
export async function withCache<T>(config: Config, work: (cache: CacheControl) => Promise<T>): Promise<T> {
  const socket = await controlSocketOf(config);
  if (socket !== undefined) return await work(controlOf(socket));
  return await withStoppedCache(config, async ({ inventory, pins }) => {
    return await work({
      images: () => inventory.images(),
      stats: () => inventory.stats(),
      purge: (selector, force) => inventory.purge(selector, force),
      pins: () => pins.pins(),
      unpin: async (images) => {
        const unpinned = [];
        for (const image of images.map((text) => imageOf(text, config)))
          unpinned.push({ image: imageText(image), was: await pins.remove(image) });
        return unpinned;
      },
    });
  });
}

/** Of the edge that runs on the storage folder; undefined when none does. */
export async function controlSocketOf({ storage }: Config): Promise<string | undefined> {
  const { controlSocket } = new StoreLayout(storage.path);
  return (await isServed(controlSocket)) ? controlSocket : undefined;
}

/** Opens the storage folder, which no edge may run on. */
export async function withStoppedCache<T>(
  { storage }: Config,
  work: (cache: StoppedCache) => Promise<T>,
): Promise<T> {
  const layout = new StoreLayout(storage.path);
  if (!existsSync(layout.root))
    throw new UsageError(`there is no cache in ${storage.path}: name it with --data or --config`);
  const opened = await openStoppedCache(layout, (path) =>
    console.error(`The list of pins could not be read: nothing is pinned. It was put into ${path}.`),
  );
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
}

/** Reads an image as the edge would. @throws {UsageError} */
export function imageOf(text: string, { upstreams }: Config): ImageReference {
  const read = parseImage(text, upstreamNames(upstreams));
  if ('problem' in read) throw new UsageError(`${JSON.stringify(text)}: ${read.problem}`);
  return read.image;
}
