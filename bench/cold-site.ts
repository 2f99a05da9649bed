import { createImage, pushImage, type BlobFixture, type ImageFixture } from '../test/support/images.ts';
import { startRegistry, type Registry } from '../test/support/registry.ts';
import { TempFolder } from '../test/support/temp.ts';
import { startThrottleProxy, type ThrottleProxy } from '../test/support/throttle-proxy.ts';
import { makeCertificate } from './certificate.ts';
import type { Contender } from './contenders/contender.ts';
import { startContenders } from './contenders/start.ts';
import type { Bench, ContenderName } from './scenario.ts';

const REPOSITORY = 'bench/cold';
export const COLD_NAMES = ['direct', 'pierhead', 'nginx', 'docker-registry'] as const;
/** A link on which nothing moved for so long has nothing more to carry. */
const QUIET_MS = 500;

/** Content that no cache has seen. */
export interface ColdImage {
  readonly image: ImageFixture;
  readonly blob: BlobFixture;
  readonly manifestPath: string;
  readonly blobPath: string;
}

/** A central registry, and in front of it a slow link for each contender, so that each one's traffic is counted. */
export class ColdSite implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly #central: Registry;
  readonly #links: ReadonlyMap<ContenderName, ThrottleProxy>;
  readonly #contenders: ReadonlyMap<ContenderName, Contender>;
  readonly #parts: AsyncDisposableStack;

  private constructor(
    folder: TempFolder,
    central: Registry,
    links: ReadonlyMap<ContenderName, ThrottleProxy>,
    contenders: readonly Contender[],
    parts: AsyncDisposableStack,
  ) {
    this.folder = folder;
    this.#central = central;
    this.#links = links;
    this.#contenders = new Map(contenders.map((contender) => [contender.name, contender]));
    this.#parts = parts;
  }

  static async start({ options, progress }: Bench, bytesPerSecond: number): Promise<ColdSite> {
    await using starting = new AsyncDisposableStack();
    progress(`cold site: a central registry behind links of ${bytesPerSecond / 1e6} MB/s`);
    const folder = starting.use(new TempFolder('bench'));
    const certificate = await makeCertificate(folder);
    const central = starting.use(await startRegistry());
    const links = new Map<ContenderName, ThrottleProxy>();
    for (const name of COLD_NAMES) {
      links.set(name, starting.use(await startThrottleProxy({ to: central, bytesPerSecond })));
    }
    const urlOf = (name: ContenderName): string => links.get(name)?.url ?? '';
    const upstreams = {
      pierhead: urlOf('pierhead'),
      nginx: urlOf('nginx'),
      'docker-registry': urlOf('docker-registry'),
    };
    const contenders = await startContenders(upstreams, { certificate, workers: options.workers }, starting);
    return new ColdSite(folder, central, links, contenders, starting.move());
  }

  /** Pushes an image with one layer of random bytes, past the links. */
  async push(tag: string, layerBytes: number): Promise<ColdImage> {
    const image = createImage({ layers: [layerBytes], seed: tag });
    await pushImage(this.#central.url, REPOSITORY, tag, image);
    const [blob] = image.layers;
    if (blob === undefined) throw new Error('the image has no layer');
    const base = `/v2/${REPOSITORY}`;
    return {
      image,
      blob,
      manifestPath: `${base}/manifests/${tag}`,
      blobPath: `${base}/blobs/${blob.digest}`,
    };
  }

  /** Where a client of this contender pulls from. */
  url(name: ContenderName): string {
    return name === 'direct' ? this.#link(name).url : (this.#contenders.get(name)?.plain.url ?? '');
  }

  /** What has come over the contender's link so far, headers included. */
  linkBytes(name: ContenderName): number {
    return this.#link(name).bytesDown;
  }

  /** GETs of a blob that the central registry has answered, whoever asked: its own access log says so. */
  blobGets(blob: BlobFixture): number {
    const request = `"GET /v2/${REPOSITORY}/blobs/${blob.digest} `;
    return this.#central.log.split('\n').filter((line) => line.includes(request)).length;
  }

  /** Some contenders go on fetching after their client has everything: that traffic is theirs too. */
  async quiet(name: ContenderName): Promise<void> {
    for (let before = -1; before !== this.linkBytes(name);) {
      before = this.linkBytes(name);
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    }
  }

  lastWords(name: ContenderName): string {
    return this.#contenders.get(name)?.lastWords() ?? '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }

  #link(name: ContenderName): ThrottleProxy {
    const link = this.#links.get(name);
    if (link === undefined) throw new Error(`${name} has no link`);
    return link;
  }
}
