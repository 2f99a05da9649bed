import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { createInterface } from 'node:readline/promises';
import type { CachedImage, CacheStats, PurgeResult, PurgeSelector } from '../cache/inventory.ts';
import type { PinnedImage } from '../cache/pins/pins.ts';
import type { WarmedImage, WarmEvent } from '../cache/warm/warm-job.ts';
import { CONTROL_PATHS, type WarmLine } from './control-protocol.ts';

/** The commands that work with and without an edge, whoever carries them out. */
export interface CacheControl {
  images(): Promise<CachedImage[]>;
  stats(): Promise<CacheStats>;
  purge(selector: PurgeSelector, force?: boolean): Promise<PurgeResult>;
  pins(): Promise<PinnedImage[]>;
  unpin(images: readonly string[]): Promise<Unpinned[]>;
}

export interface Unpinned {
  readonly image: string;
  /** Whether it was pinned. */
  readonly was: boolean;
}

export interface WarmCommand {
  /** As people write them. */
  readonly images: readonly string[];
  readonly platforms: readonly string[];
  readonly pin: boolean;
}

/** The edge said no; `message` is fit for an operator. */
export class CommandRefused extends Error {
  override readonly name = 'CommandRefused';
  /** The command was wrong, rather than its time. */
  readonly usage: boolean;

  constructor(message: string, usage: boolean) {
    super(message);
    this.usage = usage;
  }
}

/** Whether a keeper listens on this control socket. */
export function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (served: boolean): void => {
      socket.destroy();
      resolve(served);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

/** Speaks to the edge that runs on a storage folder. */
export function controlOf(path: string): CacheControl {
  return {
    images: () => ask(path, 'GET', CONTROL_PATHS.images) as Promise<CachedImage[]>,
    stats: () => ask(path, 'GET', CONTROL_PATHS.stats) as Promise<CacheStats>,
    purge: (selector, force = false) =>
      ask(path, 'POST', CONTROL_PATHS.purge, { ...selector, force }) as Promise<PurgeResult>,
    pins: () => ask(path, 'GET', CONTROL_PATHS.pins) as Promise<PinnedImage[]>,
    unpin: (images) => ask(path, 'POST', CONTROL_PATHS.unpin, { images }) as Promise<Unpinned[]>,
  };
}

/**
 * Has the edge fetch images; `tell` hears what happens. Resolves to what became of each.
 * @throws {CommandRefused} also when the edge ends before the command does.
 */
export async function askToWarm(
  socketPath: string,
  command: WarmCommand,
  tell: (event: WarmEvent) => void,
): Promise<WarmedImage[]> {
  const response = await send(socketPath, 'POST', CONTROL_PATHS.warm, command);
  if (response.statusCode !== 200) throw refusal(response.statusCode, await contentOf(response));
  const results: WarmedImage[] = [];
  try {
    for await (const line of createInterface({ input: response })) {
      const event = JSON.parse(line) as WarmLine;
      if (event.kind === 'failed') throw new CommandRefused(event.error, false);
      if (event.kind === 'done') results.push(event.result);
      tell(event);
    }
  } catch (error) {
    if (error instanceof CommandRefused) throw error;
    throw new CommandRefused(ENDED, false);
  }
  if (!response.complete) throw new CommandRefused(ENDED, false);
  return results;
}

const ENDED = 'the edge ended before the command did';

/** Both ends are of one build: an answer has the shape of its question. @throws {CommandRefused} */
async function ask(socketPath: string, method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await send(socketPath, method, path, body);
  const content = await contentOf(response);
  if (response.statusCode !== 200) throw refusal(response.statusCode, content);
  return content;
}

function send(socketPath: string, method: string, path: string, body?: unknown): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const sent = request({ socketPath, method, path, headers }, resolve);
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function contentOf(response: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

function refusal(status: number | undefined, content: unknown): CommandRefused {
  const error =
    typeof content === 'object' && content !== null && 'error' in content ? content.error : undefined;
  return new CommandRefused(
    typeof error === 'string' ? error : 'the edge refused the command',
    status === 400,
  );
}
