import { Semaphore } from '../../src/lib/semaphore.ts';
import { get, type Answer, type GetOptions } from '../../test/support/clients.ts';
import type { ImageFixture } from '../../test/support/images.ts';
import { NotAsPromised, promised } from './promise.ts';

/** An image under its name in the central. */
export interface Published {
  readonly repository: string;
  readonly tag: string;
  readonly image: ImageFixture;
}

export interface PullOptions {
  readonly timeoutMs: number;
  /** Called with the size of each piece of a body that has come. */
  readonly onBytes: (bytes: number) => void;
}

export interface Pulled {
  /** `Cache-Status` (RFC 9211) of the question for the tag; a registry that is no cache has none. */
  readonly tagStatus: string;
}

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

/** As docker has it: the config and the layers, three at a time, each on a connection of its own. */
const PARALLEL = 3;

const ACCEPT = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
].join(', ');

/**
 * Pulls as docker does: the tag by HEAD, the manifest by its digest, then what the manifest names.
 * @throws {NotAsPromised} when anything is missing, broken off, or not what its digest says.
 */
export async function pull(registry: string, wanted: Published, options: PullOptions): Promise<Pulled> {
  const { repository, tag, image } = wanted;
  const base = `${registry}/v2/${repository}`;
  const headers = { accept: ACCEPT };
  const { timeoutMs } = options;

  const head = await request(`${base}/manifests/${tag}`, { method: 'HEAD', headers, timeoutMs });
  const digest = String(head.headers['docker-content-digest']);
  promised(
    digest === image.digest,
    `${repository}:${tag} is ${digest} here, and ${image.digest} was pushed to the central`,
  );

  const size = Number(head.headers['content-length']);
  const manifest = await body(`${base}/manifests/${digest}`, { digest, size }, options, {
    headers,
    keepBody: true,
  });
  const { config, layers } = JSON.parse(manifest.body.toString('utf8')) as {
    config: Descriptor;
    layers: Descriptor[];
  };
  const turns = new Semaphore(PARALLEL);
  await Promise.all(
    [config, ...layers].map(async (blob) => {
      const release = await turns.acquire();
      try {
        await body(`${base}/blobs/${blob.digest}`, blob, options);
      } finally {
        release();
      }
    }),
  );
  return { tagStatus: String(head.headers['cache-status'] ?? '') };
}

/** A whole body that is what its descriptor says. */
async function body(
  url: string,
  { digest, size }: Descriptor,
  { onBytes, timeoutMs }: PullOptions,
  more: GetOptions = {},
): Promise<Answer> {
  const answer = await request(url, { ...more, timeoutMs, onData: (chunk) => onBytes(chunk.byteLength) });
  promised(answer.complete, `${url} broke off after ${answer.bytes} bytes of ${size} (${answer.error})`);
  promised(answer.bytes === size, `${url} has ${answer.bytes} bytes, not ${size}`);
  promised(`sha256:${answer.sha256}` === digest, `${url} has the digest sha256:${answer.sha256}`);
  return answer;
}

async function request(url: string, options: GetOptions): Promise<Answer> {
  const answer = await get(url, options).catch((error: unknown) => {
    const message = error instanceof Error ? error.message : String(error);
    throw new NotAsPromised(`${options.method ?? 'GET'} ${url}: no answer (${message})`);
  });
  promised(answer.status === 200, `${options.method ?? 'GET'} ${url}: answered ${answer.status}, not 200`);
  return answer;
}
