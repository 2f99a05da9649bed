import { configOf, type EdgeOptions } from '../edge-options.ts';
import { imageText } from '../../oci/image-reference.ts';
import { table } from '../table.ts';
import { sizeText } from '../units-text.ts';
import { controlSocketOf, imageOf, withCache, withStoppedCache } from '../with-cache.ts';
import { choiceOf, warmThrough, type WarmOptions } from './warm.ts';

/** Through the edge, which fetches what is missing; without one, what is whole in the cache is pinned as it is. */
export async function cachePin(images: readonly string[], options: WarmOptions): Promise<void> {
  const config = configOf(options);
  const choice = choiceOf(options);
  const socket = await controlSocketOf(config);
  if (socket !== undefined)
    return await warmThrough(socket, { images, platforms: options.platform ?? [], pin: true });
  const wanted = images.map((text) => imageOf(text, config));
  await withStoppedCache(config, async ({ pin }) => {
    for (const image of wanted) {
      await pin(image, choice);
      console.log(`${imageText(image)}: pinned`);
    }
  });
}

/** Exit 1 when one of them was not pinned. */
export async function cacheUnpin(images: readonly string[], options: EdgeOptions): Promise<void> {
  const unpinned = await withCache(configOf(options), (cache) => cache.unpin(images));
  for (const { image, was } of unpinned) {
    if (was) console.log(`${image}: unpinned`);
    else {
      console.error(`${image}: is not pinned (pierhead cache pins lists what is)`);
      process.exitCode = 1;
    }
  }
}

export async function cachePins(options: EdgeOptions & { readonly json?: boolean }): Promise<void> {
  const pins = await withCache(configOf(options), (cache) => cache.pins());
  if (options.json === true) return console.log(JSON.stringify(pins, undefined, 2));
  if (pins.length === 0) return console.log('Nothing is pinned.');
  const rows = pins.map((pin) => [
    pin.image,
    pin.digest.slice(0, 19),
    pin.platforms,
    sizeText(pin.bytes),
    stateOf(pin),
  ]);
  console.log(table(['IMAGE', 'DIGEST', 'PLATFORMS', 'CACHED', 'STATE'], rows));
}

function stateOf({ missing, moved }: { readonly missing: number; readonly moved: boolean }): string {
  const states = [
    ...(missing > 0 ? [`${missing} objects missing: warm it again`] : []),
    ...(moved ? ['the tag has moved: warm it to follow'] : []),
  ];
  return states.length === 0 ? 'whole' : states.join('; ');
}
