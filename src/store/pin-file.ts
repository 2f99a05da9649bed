import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ms, type Milliseconds } from '../lib/brand.ts';
import { parseDigest, type Digest } from '../oci/digest.ts';
import { imageText, parseImageText, type ImageReference } from '../oci/image-reference.ts';
import { parsePlatform, platformText, type Platform, type PlatformChoice } from '../oci/platform.ts';
import type { StoreLayout } from './layout.ts';

/** An image that is never evicted. */
export interface Pin {
  readonly image: ImageReference;
  /** What the image was when it was pinned. A tag that moves takes its pin along only when it is warmed again. */
  readonly digest: Digest;
  /** That one and the manifests below it that are kept with it; what they name is kept, too. */
  readonly manifests: readonly Digest[];
  readonly platforms: PlatformChoice;
  readonly pinnedAt: Milliseconds;
}

/** The pins on disk: a short JSON file, written whole, so that it is the old list or the new one after any crash. */
export class PinFile {
  readonly #layout: StoreLayout;

  constructor(layout: StoreLayout) {
    this.#layout = layout;
  }

  /** No file is no pins. One that cannot be understood is set aside, for a look. */
  async read(now: Milliseconds): Promise<{ pins: Pin[]; setAside: string | undefined }> {
    const text = await this.#readText();
    if (text === undefined) return { pins: [], setAside: undefined };
    const pins = parsePins(text);
    if (pins !== undefined) return { pins, setAside: undefined };
    const setAside = join(this.#layout.quarantine, `pins-${now}.json`);
    await rename(this.#layout.pins, setAside);
    return { pins: [], setAside };
  }

  async write(pins: readonly Pin[]): Promise<void> {
    const written = pins.map(({ image, platforms, ...rest }) => ({
      image: imageText(image),
      ...rest,
      platforms: platforms === 'all' ? platforms : platforms.map(platformText),
    }));
    const temporary = `${this.#layout.pins}.new`;
    // What a crash left, or somebody planted.
    await rm(temporary, { force: true });
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(`${JSON.stringify({ pins: written }, undefined, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.#layout.pins);
    const folder = await open(dirname(this.#layout.pins), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  /** Undefined when there is none; of a link or a FIFO nothing, which is no list of pins. */
  async #readText(): Promise<string | undefined> {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    try {
      const file = await open(this.#layout.pins, flags);
      try {
        return await file.readFile('utf8');
      } finally {
        await file.close();
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined;
      if (code === 'ELOOP') return '';
      throw error;
    }
  }
}

function parsePins(text: string): Pin[] | undefined {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return undefined;
  }
  const written = fieldsOf(content)?.['pins'];
  return Array.isArray(written) ? allOf(written, parsePin) : undefined;
}

function parsePin(value: unknown): Pin | undefined {
  const { image, digest, manifests, platforms, pinnedAt } = fieldsOf(value) ?? {};
  const pinned = typeof image === 'string' ? parseImageText(image) : undefined;
  const root = parseDigestValue(digest);
  const kept = Array.isArray(manifests) ? allOf(manifests, parseDigestValue) : undefined;
  const choice = parseChoice(platforms);
  if (pinned === undefined || root === undefined || kept === undefined || choice === undefined)
    return undefined;
  const at = typeof pinnedAt === 'number' && Number.isFinite(pinnedAt) ? pinnedAt : 0;
  return { image: pinned, digest: root, manifests: kept, platforms: choice, pinnedAt: ms(at) };
}

function parseChoice(value: unknown): PlatformChoice | undefined {
  if (value === 'all') return value;
  return Array.isArray(value) ? allOf(value, parsePlatformValue) : undefined;
}

function parsePlatformValue(value: unknown): Platform | undefined {
  return typeof value === 'string' ? parsePlatform(value) : undefined;
}

function parseDigestValue(value: unknown): Digest | undefined {
  return typeof value === 'string' ? parseDigest(value) : undefined;
}

/** Undefined when one of them is not understood. */
function allOf<T>(values: readonly unknown[], parse: (value: unknown) => T | undefined): T[] | undefined {
  const parsed = values.map(parse).filter((value) => value !== undefined);
  return parsed.length === values.length ? parsed : undefined;
}

function fieldsOf(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
}
