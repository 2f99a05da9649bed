import { request, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { MiB } from '../../../src/lib/brand.ts';
import type { BlobFixture } from './blob.ts';
import type { ImageFixture } from '../images.ts';

/** Uploads what the registry does not have yet, the manifest last, so that a tag never points to half an image. */
export async function pushImage(
  registryUrl: string,
  repository: string,
  tag: string,
  image: ImageFixture,
  headers: OutgoingHttpHeaders = {},
): Promise<void> {
  const base = `${registryUrl}/v2/${repository}`;
  for (const blob of image.blobs) await pushBlob(base, blob, headers);
  for (const child of image.images) await pushManifest(`${base}/manifests/${child.digest}`, child, headers);
  await pushManifest(`${base}/manifests/${tag}`, image, headers);
}

async function pushBlob(base: string, blob: BlobFixture, headers: OutgoingHttpHeaders): Promise<void> {
  const known = await send('HEAD', `${base}/blobs/${blob.digest}`, headers);
  if (known.statusCode === 200) return;
  const started = await send('POST', `${base}/blobs/uploads/`, headers);
  const location = new URL(
    expectStatus(`POST ${base}/blobs/uploads/`, started, 202).headers.location ?? '',
    base,
  );
  location.searchParams.set('digest', blob.digest);
  const put = { ...headers, 'content-type': 'application/octet-stream' };
  expectStatus(`PUT ${location.href}`, await send('PUT', location.href, put, blob), 201);
}

async function pushManifest(url: string, image: ImageFixture, headers: OutgoingHttpHeaders): Promise<void> {
  const put = { ...headers, 'content-type': image.manifest.mediaType };
  expectStatus(`PUT ${url}`, await send('PUT', url, put, image.manifest), 201);
}

async function send(
  method: string,
  url: string,
  headers: OutgoingHttpHeaders,
  body?: BlobFixture,
): Promise<IncomingMessage> {
  const outgoing = request(url, {
    method,
    agent: false,
    headers: { ...headers, 'content-length': body?.size ?? 0 },
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.once('error', reject);
  });
  const sent = body === undefined ? outgoing.end() : pipeline(Readable.from(chunksOf(body)), outgoing);
  const [response] = await Promise.all([answered, sent]);
  response.resume();
  return response;
}

async function* chunksOf(blob: BlobFixture): AsyncGenerator<Buffer> {
  for (let at = 0; at < blob.size; at += MiB) yield await blob.read(at, Math.min(at + MiB, blob.size));
}

function expectStatus(what: string, response: IncomingMessage, status: number): IncomingMessage {
  if (response.statusCode !== status) throw new Error(`${what}: ${response.statusCode}, not ${status}`);
  return response;
}
