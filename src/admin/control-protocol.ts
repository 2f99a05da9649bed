import type { PurgeSelector } from '../cache/inventory.ts';
import type { WarmEvent, WarmJob } from '../cache/warm/warm-job.ts';
import { parseImage, type ImageReference, type UpstreamName } from '../oci/image-reference.ts';
import { parsePlatform, PLATFORM_FORM, type PlatformChoice } from '../oci/platform.ts';
import { parseTag } from '../oci/reference.ts';
import { parseRepositoryName } from '../oci/repository-name.ts';

export const CONTROL_PATHS = {
  images: '/images',
  stats: '/stats',
  purge: '/purge',
  pins: '/pins',
  unpin: '/unpin',
  warm: '/warm',
} as const;

/** A line each: what happens while images are fetched, and what became of them. */
export type WarmLine = WarmEvent | { readonly kind: 'failed'; readonly error: string };

/** Whether a purge takes pinned images, too; beside the selector. */
export function parseForce(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'force' in value && value.force === true;
}

/** Images as people write them, read against the upstreams of the edge that runs; or what is wrong. */
export function parseImages(value: unknown, upstreams: readonly UpstreamName[]): ImageReference[] | string {
  const texts = listIn(value, 'images');
  if (texts === undefined || texts.length === 0) return 'no list of images';
  const images: ImageReference[] = [];
  for (const text of texts) {
    const read = parseImage(text, upstreams);
    if ('problem' in read) return `${JSON.stringify(text)}: ${read.problem}`;
    images.push(read.image);
  }
  return images;
}

/** As {@link parseImages}, with what else a warm command says. */
export function parseWarm(value: unknown, upstreams: readonly UpstreamName[]): WarmJob | string {
  const images = parseImages(value, upstreams);
  if (typeof images === 'string') return images;
  const choice = parseChoice(listIn(value, 'platforms') ?? []);
  if (choice === 'unknown') return `takes platforms as ${PLATFORM_FORM}, or all`;
  const pin = typeof value === 'object' && value !== null && 'pin' in value && value.pin === true;
  return { images, platforms: choice, pin };
}

/** Undefined when none is said. */
export function parseChoice(texts: readonly string[]): PlatformChoice | undefined | 'unknown' {
  if (texts.length === 0) return undefined;
  if (texts.includes('all')) return 'all';
  const platforms = texts.map(parsePlatform).filter((platform) => platform !== undefined);
  return platforms.length === texts.length ? platforms : 'unknown';
}

/** Reads a selector that came over the socket; undefined when it is none. */
export function parsePurge(value: unknown): PurgeSelector | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return undefined;
  if (value.kind === 'all') return { kind: 'all' };
  const repository = 'repository' in value ? value.repository : undefined;
  if (typeof repository !== 'object' || repository === null) return undefined;
  const upstream = 'upstream' in repository ? repository.upstream : undefined;
  const name = parseRepositoryName('name' in repository ? String(repository.name) : '');
  if (typeof upstream !== 'string' || name === undefined) return undefined;
  if (value.kind === 'repository') return { kind: 'repository', repository: { upstream, name } };
  const tag = parseTag('tag' in value ? String(value.tag) : '');
  return value.kind === 'tag' && tag !== undefined
    ? { kind: 'tag', repository: { upstream, name }, tag }
    : undefined;
}

function listIn(value: unknown, key: string): string[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const list = (value as Record<string, unknown>)[key];
  return Array.isArray(list) && list.every((each) => typeof each === 'string') ? list : undefined;
}
