import { request } from 'node:http';
import { connect } from 'node:net';
import type { CachedImage, CacheStats, PurgeResult, PurgeSelector } from '../cache/inventory.ts';
import { CONTROL_PATHS, type ReloadControl, type ReloadReport } from './control-protocol.ts';

/** The three commands, whoever carries them out. */
export interface CacheControl {
  images(): Promise<CachedImage[]>;
  stats(): Promise<CacheStats>;
  purge(selector: PurgeSelector): Promise<PurgeResult>;
}

/** The edge did not do it; the message says why, and is for the operator. */
export class EdgeRefused extends Error {
  override readonly name = 'EdgeRefused';
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
    purge: (selector) => ask(path, 'POST', CONTROL_PATHS.purge, selector) as Promise<PurgeResult>,
  };
}

export function reloadsOf(path: string): ReloadControl {
  return {
    reload: () => ask(path, 'POST', CONTROL_PATHS.reload) as Promise<ReloadReport>,
    reloadCertificates: () => ask(path, 'POST', CONTROL_PATHS.reloadCertificates) as Promise<ReloadReport>,
  };
}

/** Both ends are of one build: an answer has the shape of its question. @throws {EdgeRefused} with what the edge said. */
function ask(socketPath: string, method: string, path: string, body?: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { socketPath, method, path, headers: { 'content-type': 'application/json' } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const content: unknown = JSON.parse(Buffer.concat(chunks).toString());
          if (response.statusCode === 200) resolve(content);
          else reject(new EdgeRefused(errorIn(content)));
        });
      },
    );
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function errorIn(content: unknown): string {
  const error =
    typeof content === 'object' && content !== null && 'error' in content ? content.error : undefined;
  return typeof error === 'string' ? error : 'the edge refused the command';
}
