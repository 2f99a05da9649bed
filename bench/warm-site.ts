import { createImage, pushImage, type BlobFixture, type ImageFixture } from '../test/support/images.ts';
import { startRegistry } from '../test/support/registry.ts';
import { TempFolder } from '../test/support/temp.ts';
import { makeCertificate } from './certificate.ts';
import type { Contender, Endpoint } from './contenders/contender.ts';
import { startContenders } from './contenders/start.ts';
import { download } from './load/download.ts';
import { wrk } from './load/wrk.ts';
import type { Options } from './options.ts';
import type { ContenderName } from './scenario.ts';

export const REPOSITORY = 'bench/warm';
const LAYER_BYTES = { small: 2600, medium: 10_000_000, large: 100_000_000 } as const;

const EXERCISE_SECONDS = 2;

export type LayerName = keyof typeof LAYER_BYTES;

/** A central registry with one image, and every contender in front of it, with the whole image in its cache. */
export class WarmSite implements AsyncDisposable {
  readonly image: ImageFixture;
  readonly names: readonly ContenderName[];
  readonly #contenders: ReadonlyMap<ContenderName, Contender>;
  readonly #ca: string;
  readonly #parts: AsyncDisposableStack;

  private constructor(
    image: ImageFixture,
    contenders: readonly Contender[],
    ca: string,
    parts: AsyncDisposableStack,
  ) {
    this.image = image;
    this.#contenders = new Map(contenders.map((contender) => [contender.name, contender]));
    this.names = [...this.#contenders.keys()];
    this.#ca = ca;
    this.#parts = parts;
  }

  static async start(options: Options, progress: (step: string) => void): Promise<WarmSite> {
    await using starting = new AsyncDisposableStack();
    const folder = starting.use(new TempFolder('bench'));
    progress('warm site: a central registry with an image of 110 MB');
    const central = starting.use(await startRegistry());
    const image = createImage({ layers: Object.values(LAYER_BYTES), seed: 'warm' });
    await pushImage(central.url, REPOSITORY, 'latest', image);
    const certificate = await makeCertificate(folder);
    const upstreams = { pierhead: central.url, nginx: central.url, 'docker-registry': central.url };
    const contenders = await startContenders(upstreams, { certificate, workers: options.workers }, starting);
    const site = new WarmSite(image, contenders, certificate.ca, starting.move());
    try {
      await site.#warm(progress);
      return site;
    } catch (error) {
      await site[Symbol.asyncDispose]();
      throw error;
    }
  }

  layer(name: LayerName): BlobFixture {
    const layer = this.image.layers[Object.keys(LAYER_BYTES).indexOf(name)];
    if (layer === undefined) throw new Error(`the image has no ${name} layer`);
    return layer;
  }

  endpoint(name: ContenderName, secure: boolean): Endpoint {
    const contender = this.#contenders.get(name);
    if (contender === undefined) throw new Error(`${name} was not started`);
    return secure ? contender.secure : contender.plain;
  }

  async verify(name: ContenderName, path: string, content: BlobFixture, secure: boolean): Promise<void> {
    try {
      await download(this.endpoint(name, secure).url + path, content, this.#ca);
    } catch (cause) {
      const words = this.#contenders.get(name)?.lastWords() ?? '';
      throw new Error(`${name} did not deliver ${path}: ${String(cause)}\n${words}`, { cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }

  /** As a pull goes, twice: what was a miss the first time must be a hit the second time, and right both times. */
  async #warm(progress: (step: string) => void): Promise<void> {
    for (const name of this.names) {
      progress(`warm site: pulling through ${name}, then load that is not counted`);
      for (const secure of [false, true, false, true]) {
        await this.verify(name, manifestPath('latest'), this.image.manifest, secure);
        await this.verify(name, manifestPath(this.image.digest), this.image.manifest, secure);
        for (const blob of this.image.blobs) await this.verify(name, blobPath(blob), blob, secure);
      }
      await this.#exercise(name);
    }
  }

  /** Node compiles what runs often, and reaches its speed after tens of thousands of requests only. */
  async #exercise(name: ContenderName): Promise<void> {
    const { manifest } = this.image;
    const url = this.endpoint(name, false).url + manifestPath('latest');
    const load = { url, connections: 32, accept: manifest.mediaType, bodyBytes: manifest.size };
    await wrk({ ...load, seconds: EXERCISE_SECONDS });
  }
}

export function manifestPath(reference: string): string {
  return `/v2/${REPOSITORY}/manifests/${reference}`;
}

export function blobPath(blob: BlobFixture): string {
  return `/v2/${REPOSITORY}/blobs/${blob.digest}`;
}
