import type { CachedImage, PurgeSelector } from '../cache/inventory.ts';
import type { Config } from '../config/config.ts';
import { parseTag } from '../oci/reference.ts';
import { parseRepositoryName } from '../oci/repository-name.ts';
import { configOf, type EdgeOptions } from './edge-options.ts';
import { table } from './table.ts';
import { sizeText, spanText } from './units-text.ts';
import { UsageError } from './usage-error.ts';
import { withCache } from './with-cache.ts';

type ListOptions = EdgeOptions & { readonly json?: boolean };

export async function cacheList(repository: string | undefined, options: ListOptions): Promise<void> {
  const config = configOf(options);
  const images = await withCache(config, (cache) => cache.images());
  const shown =
    repository === undefined ? images : images.filter((image) => names(image).includes(repository));
  if (options.json === true) {
    console.log(JSON.stringify(shown, undefined, 2));
    return;
  }
  if (shown.length === 0) {
    console.log(repository === undefined ? 'Nothing is cached yet.' : `Nothing of ${repository} is cached.`);
    return;
  }
  const rows = shown.map((image) => [
    `${image.upstream}/${image.repository}`,
    image.tag,
    image.digest.slice(0, 19),
    sizeText(image.bytes),
    `${spanText(image.checkedSecondsAgo)} ago`,
    image.pinned ? 'yes' : 'no',
  ]);
  console.log(table(['REPOSITORY', 'TAG', 'DIGEST', 'CACHED', 'CHECKED', 'PINNED'], rows));
}

export async function cacheStats(options: ListOptions): Promise<void> {
  const config = configOf(options);
  const stats = await withCache(config, (cache) => cache.stats());
  if (options.json === true) {
    console.log(JSON.stringify({ ...stats, maxBytes: config.storage.maxSize }, undefined, 2));
    return;
  }
  const share = ((100 * stats.bytes) / config.storage.maxSize).toFixed(1);
  console.log(`stored     ${sizeText(stats.bytes)} of ${sizeText(config.storage.maxSize)} (${share}%)`);
  console.log(
    `objects    ${stats.objects}${stats.indexLoaded ? '' : ' so far: the index is still being read'}`,
  );
  console.log(`manifests  ${stats.manifests}`);
  console.log(`tags       ${stats.tags}`);
  console.log(`pinned     ${sizeText(stats.pinnedBytes)} by ${stats.pins} pins`);
}

export async function cachePurge(
  images: readonly string[],
  options: EdgeOptions & { readonly all?: boolean; readonly force?: boolean },
): Promise<void> {
  if (options.all === true ? images.length > 0 : images.length === 0) {
    throw new UsageError('cache purge takes images, or --all: pierhead cache purge library/alpine:3.20');
  }
  const config = configOf(options);
  const selectors =
    options.all === true ? [{ kind: 'all' } as const] : images.map((image) => selectorOf(image, config));
  await withCache(config, async (cache) => {
    for (const selector of selectors) {
      const { tags, manifests, blobs, bytes } = await cache.purge(selector, options.force);
      console.log(
        `${label(selector)}: ${tags} tags, ${manifests} manifests, ${blobs} blobs (${sizeText(bytes)}) taken out`,
      );
    }
  });
}

/** `REPOSITORY`, `REPOSITORY:TAG`, each with or without the upstream's name in front. @throws {UsageError} */
function selectorOf(image: string, config: Config): PurgeSelector {
  const upstream =
    config.upstreams.find(({ name }) => image.startsWith(`${name}/`)) ??
    config.upstreams.find((known) => known.default);
  const path = image.startsWith(`${upstream?.name}/`) ? image.slice((upstream?.name.length ?? 0) + 1) : image;
  const colon = path.lastIndexOf(':');
  const name = parseRepositoryName(colon === -1 ? path : path.slice(0, colon));
  const tag = colon === -1 ? undefined : parseTag(path.slice(colon + 1));
  if (upstream === undefined || name === undefined || (colon !== -1 && tag === undefined)) {
    throw new UsageError(`${JSON.stringify(image)} is not an image: REPOSITORY or REPOSITORY:TAG`);
  }
  const repository = { upstream: upstream.name, name };
  return tag === undefined ? { kind: 'repository', repository } : { kind: 'tag', repository, tag };
}

function label(selector: PurgeSelector): string {
  if (selector.kind === 'all') return 'everything';
  const { upstream, name } = selector.repository;
  return `${upstream}/${name}${selector.kind === 'tag' ? `:${selector.tag}` : ''}`;
}

function names({ upstream, repository }: CachedImage): string[] {
  return [repository, `${upstream}/${repository}`];
}
