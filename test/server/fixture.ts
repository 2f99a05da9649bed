import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { reloadsOf } from '../../src/admin/control-client.ts';
import { startCentral, type Central } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startEdge, type Edge, type EdgeOptions } from '../support/edge.ts';
import { createImage, type ImageFixture } from '../support/images.ts';

export interface Served {
  readonly edge: Edge;
  readonly central: Central;
  readonly image: ImageFixture;
}

/** An edge in front of a central that holds `library/app:latest`; both end with the test file. */
export async function serveImage(
  layers: readonly number[],
  options: EdgeOptions = {},
  access?: object,
): Promise<Served> {
  const central = await startCentral();
  t.teardown(() => central.stop());
  const image = createImage({ layers });
  central.addImage('library/app', 'latest', image);
  const upstreams = [{ name: 'central', url: central.url, default: true }];
  const config = { upstreams, freshness: { tag: '1h' }, ...(access && { access }), ...options.config };
  const edge = await startEdge({ ...options, config });
  t.teardown(() => edge.remove());
  return { edge, central, image };
}

/** Puts other keys into the configuration file, and reloads. */
export async function reconfigure(edge: Edge, config: object): Promise<void> {
  const file = join(edge.dir, 'pierhead.yaml');
  const written = JSON.parse(await readFile(file, 'utf8')) as object;
  await writeFile(file, JSON.stringify({ ...written, ...config }), { mode: 0o600 });
  await reloadsOf(join(edge.dir, 'data/v1/control.sock')).reload();
}

/** Pulls everything once, so that all of it is a hit from here on, and forgets what the central has seen. */
export async function warm({ edge, central, image }: Served): Promise<void> {
  const base = `${edge.http}/v2/library/app`;
  await get(`${base}/manifests/latest`);
  for (const blob of image.blobs) {
    const answer = await get(`${base}/blobs/${blob.digest}`);
    if (`sha256:${answer.sha256}` !== blob.digest) throw new Error(`${blob.digest} did not come through`);
  }
  central.forget();
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
