import { chmod, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { OperatorAct } from '../audit/audit-entry.ts';
import type { Inventory } from '../cache/inventory.ts';
import { imageText } from '../oci/image-reference.ts';
import { PinnedError } from '../cache/pins/pins.ts';
import {
  CONTROL_PATHS,
  parseForce,
  parseImages,
  parsePurge,
  parseWarm,
  type ReloadControl,
  type ReloadReport,
} from './control-protocol.ts';
import { isServed } from './control-client.ts';
import { streamWarm, type WarmControl } from './control-warm.ts';

const MAX_BODY_BYTES = 64 * 1024;
const COMMANDS: ReadonlySet<string> = new Set([
  CONTROL_PATHS.purge,
  CONTROL_PATHS.unpin,
  CONTROL_PATHS.warm,
  CONTROL_PATHS.reload,
  CONTROL_PATHS.reloadCertificates,
]);

export interface ControlParts {
  readonly inventory: () => Inventory | undefined;
  /** There whenever the inventory is. */
  readonly warming: () => WarmControl | undefined;
  readonly reloads: () => ReloadControl | undefined;
  /** An operator did that; `what` is what it was done to. */
  readonly acted: (action: OperatorAct, what: string) => void;
  readonly failed: (error: unknown) => void;
}

/** Another edge runs on the same storage folder. */
export class StorageInUse extends Error {
  override readonly name = 'StorageInUse';
}

/**
 * The keeper's control socket in the storage folder: reachable for whoever may read that folder, and for nobody over
 * the network. It is also the lock on the folder.
 * @throws {StorageInUse} when another edge answers on it.
 */
export async function listenControl(path: string, parts: ControlParts): Promise<Server> {
  if (await isServed(path)) throw new StorageInUse('another edge runs on this storage folder');
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  const server = createServer((request, response) => void answer(parts, request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      // EINVAL: it does not fit into `sun_path`, unix(7); the bare error does not say so.
      reject(error.code === 'EINVAL' ? new Error(`too long for the path of a socket: ${path}`) : error);
    });
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return server;
}

async function answer(
  parts: ControlParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const [inventory, warming] = [parts.inventory(), parts.warming()];
    if (inventory === undefined || warming === undefined)
      return json(response, 503, { error: 'the edge is still starting' });
    if (request.method === 'GET') return await look(inventory, warming, request.url, response);
    if (request.method !== 'POST' || !COMMANDS.has(request.url ?? '')) return unknownCommand(response);
    const body = await text(request);
    if (request.url === CONTROL_PATHS.reload || request.url === CONTROL_PATHS.reloadCertificates)
      parts.acted('reload', request.url);
    if (request.url === CONTROL_PATHS.reload) return await answerReload(response, parts.reloads()?.reload());
    if (request.url === CONTROL_PATHS.reloadCertificates)
      return await answerReload(response, parts.reloads()?.reloadCertificates());
    await change(
      { inventory, warming, acted: parts.acted },
      request.url,
      body === undefined ? undefined : parsed(body),
      response,
    );
  } catch (error) {
    if (error instanceof PinnedError && !response.headersSent)
      return json(response, 409, { error: error.message });
    parts.failed(error);
    if (!response.headersSent)
      json(response, 500, { error: error instanceof Error ? error.message : 'failed' });
  }
}

async function look(
  inventory: Inventory,
  warming: WarmControl,
  path: string | undefined,
  response: ServerResponse,
): Promise<void> {
  if (path === CONTROL_PATHS.images) return json(response, 200, await inventory.images());
  if (path === CONTROL_PATHS.stats) return json(response, 200, await inventory.stats());
  if (path === CONTROL_PATHS.pins) return json(response, 200, await warming.pins.pins());
  return unknownCommand(response);
}

async function change(
  { inventory, warming, acted }: { inventory: Inventory; warming: WarmControl; acted: ControlParts['acted'] },
  path: string | undefined,
  command: unknown,
  response: ServerResponse,
): Promise<void> {
  if (path === CONTROL_PATHS.warm) {
    const job = parseWarm(command, warming.upstreams);
    if (typeof job === 'string') return json(response, 400, { error: job });
    acted(job.pin ? 'cache.pin' : 'warm', job.images.map(imageText).join(' '));
    return await streamWarm(warming, job, response);
  }
  if (path === CONTROL_PATHS.unpin) {
    const images = parseImages(command, warming.upstreams);
    if (typeof images === 'string') return json(response, 400, { error: images });
    acted('cache.unpin', images.map(imageText).join(' '));
    const unpinned: { image: string; was: boolean }[] = [];
    for (const image of images)
      unpinned.push({ image: imageText(image), was: await warming.pins.remove(image) });
    return json(response, 200, unpinned);
  }
  const selector = parsePurge(command);
  if (selector === undefined) return json(response, 400, { error: 'not a purge selector' });
  const result = await inventory.purge(selector, parseForce(command));
  acted('cache.purge', JSON.stringify(selector));
  return json(response, 200, result);
}

function unknownCommand(response: ServerResponse): void {
  json(response, 404, { error: 'no such command' });
}

/** A refusal is the operator's to mend, and in the log already. */
async function answerReload(
  response: ServerResponse,
  reload: Promise<ReloadReport> | undefined,
): Promise<void> {
  if (reload === undefined) return json(response, 503, { error: 'the edge is still starting' });
  const [status, content] = await reload.then(
    (report) => [200, report] as const,
    (error: unknown) => [422, { error: error instanceof Error ? error.message : String(error) }] as const,
  );
  json(response, status, content);
}

/** Undefined when it is longer than any command. */
async function text(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  return bytes <= MAX_BODY_BYTES ? Buffer.concat(chunks).toString('utf8') : undefined;
}

function parsed(command: string): unknown {
  try {
    return JSON.parse(command);
  } catch {
    return undefined;
  }
}

function json(response: ServerResponse, status: number, content: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(content));
}
