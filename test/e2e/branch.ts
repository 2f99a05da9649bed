import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Digest } from '../../src/oci/digest.ts';
import { get, type Answer } from '../support/clients.ts';
import { startEdge, type Edge, type EdgeOptions } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import type { ImageFixture } from '../support/images.ts';
import type { Registry } from '../support/registry.ts';

/** What the edge's log says of one answer. */
export interface RequestLine {
  readonly method: string;
  readonly route: string;
  readonly reference?: string;
  readonly status: number;
  readonly cache: string;
}

/** The freshness of a tag that no two requests fall into: each asks the central. */
export const ALWAYS_ASKS = { tag: '1ms' };

/** An address of this machine that docker does not take for itself, and so checks the certificate of. */
export const outerAddress = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address;

/** An edge of a branch office, in front of one central registry. */
export function startBranch(central: { readonly url: string }, options: EdgeOptions = {}): Promise<Edge> {
  const upstreams = [{ name: 'central', url: central.url, default: true }];
  return startEdge({ ...options, config: { upstreams, ...options.config } });
}

/** What the edge has answered so far. A line follows its answer by a moment: see {@link answersWith}. */
export function answersOf(edge: Edge): RequestLine[] {
  return edge
    .logs()
    .filter(({ msg }) => msg === 'request')
    .map((line) => line as unknown as RequestLine);
}

/** The answers after the first `from`, as soon as every one of `references` is among them. */
export async function answersWith(
  edge: Edge,
  from: number,
  references: readonly string[],
): Promise<RequestLine[]> {
  const since = (): RequestLine[] => answersOf(edge).slice(from);
  const all = (): boolean => {
    const seen = new Set(since().map(({ reference }) => reference));
    return references.every((reference) => seen.has(reference));
  };
  await eventually(all, { what: () => `answers for ${references.join(', ')}; so far:\n${edge.output}` });
  return since();
}

export function digestsOf(image: ImageFixture): Digest[] {
  return image.blobs.map(({ digest }) => digest);
}

/** How often each blob was fetched from the real registry, by its access log, once each was fetched at all. */
export async function fetchesOf(registry: Registry, digests: readonly Digest[]): Promise<number[]> {
  const count = (digest: Digest): number => registry.log.split(`/blobs/${digest} HTTP/1.1" 200`).length - 1;
  const counts = (): number[] => digests.map(count);
  await eventually(() => counts().every((each) => each > 0), {
    what: () => `each of ${digests.join(', ')} is in the log of the registry:\n${registry.log}`,
  });
  return counts();
}

/** Manifest by tag, manifest by digest, every blob: what a client asks for, with the answers in that order. */
export async function pullAll(
  base: string,
  repository: string,
  tag: string,
  image: ImageFixture,
): Promise<Answer[]> {
  const root = `${base}/v2/${repository}`;
  const answers = [await get(`${root}/manifests/${tag}`), await get(`${root}/manifests/${image.digest}`)];
  for (const digest of digestsOf(image)) answers.push(await get(`${root}/blobs/${digest}`));
  return answers;
}

/** The digests that {@link pullAll} is to find. */
export function wholeOf(image: ImageFixture): string[] {
  return [image.digest, image.digest, ...digestsOf(image)];
}

export function digestsIn(answers: readonly Answer[]): string[] {
  return answers.map(({ sha256 }) => `sha256:${sha256}`);
}

export function cacheStatusOf({ headers }: Answer): string | undefined {
  return headers['cache-status'] as string | undefined;
}

export async function fillsRunning(edge: Edge): Promise<number> {
  const metrics = await edge.metrics();
  const [sample, ...others] = metrics.find('pierhead_fills_running');
  if (sample === undefined || others.length > 0) throw new Error('pierhead_fills_running is not one sample');
  return sample.value;
}

export function partialFiles(edge: Edge): Promise<string[]> {
  return readdir(join(edge.dir, 'data', 'v1', 'partial'));
}

/** What must hold after each test: nothing is half-way, and the edge goes when it is told, with all that it started. */
export async function leavesNothing(t: Test, edge: Edge): Promise<void> {
  await eventually(async () => (await fillsRunning(edge)) === 0, { what: 'no fill runs' });
  t.same(await partialFiles(edge), [], 'no partial files');
  const pids = [...(await edge.rssOf()).keys()];
  t.same(await edge.stop(), { code: 0, signal: null }, 'ends by itself');
  t.same(
    pids.filter((pid) => existsSync(`/proc/${pid}`)),
    [],
    'no processes',
  );
}
