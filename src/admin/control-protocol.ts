import type { WarmEvent, WarmJob } from '../cache/warm/warm-job.ts';
import { parseImage, type ImageReference, type UpstreamName } from '../oci/image-reference.ts';
import { parsePlatform, PLATFORM_FORM, type PlatformChoice } from '../oci/platform.ts';

export { parsePurge } from '../cache/site/announcement.ts';

/** What a reload has done. */
export interface ReloadReport {
  /** Keys of the configuration that have another value now. */
  readonly changed: readonly string[];
  /** Keys that have another value in the file, which comes into force with a restart. */
  readonly needRestart: readonly string[];
  /** Other certificates are served than before. */
  readonly newCertificates: boolean;
}

/** What may be asked of an edge that runs. Both reject with a reason for the operator, and have changed nothing then. */
export interface ReloadControl {
  reload(): Promise<ReloadReport>;
  reloadCertificates(): Promise<ReloadReport>;
}

export const CONTROL_PATHS = {
  images: '/images',
  stats: '/stats',
  purge: '/purge',
  pins: '/pins',
  health: '/health',
  certificates: '/certificates',
  pin: '/pin',
  unpin: '/unpin',
  warm: '/warm',
  reload: '/reload',
  reloadCertificates: '/reload/certificates',
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

function listIn(value: unknown, key: string): string[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const list = (value as Record<string, unknown>)[key];
  return Array.isArray(list) && list.every((each) => typeof each === 'string') ? list : undefined;
}
