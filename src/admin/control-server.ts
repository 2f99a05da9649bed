import { chmod, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { OperatorAct } from '../audit/audit-entry.ts';
import { sendJson } from './answers.ts';
import { carryOut, COMMANDS, readAsked, runningOf, type Commanded } from './commands.ts';
import { isServed } from './control-client.ts';

export interface ControlParts {
  readonly edge: Commanded;
  /** An operator did that; `what` is what it was done to, `status` that of the answer. */
  readonly acted: (action: OperatorAct, what: string, status: number) => void;
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
  { edge, acted, failed }: ControlParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const running = runningOf(edge);
    if (running === undefined) return sendJson(response, 503, { error: 'the edge is still starting' });
    const command = COMMANDS.get(`${request.method} ${request.url}`);
    if (command === undefined) return sendJson(response, 404, { error: 'no such command' });
    const work = command.prepare(running, await readAsked(request));
    if (typeof work === 'string') return sendJson(response, 400, { error: work });
    const action = work.act ?? command.act;
    await carryOut(work, response, (status) => {
      if (action !== undefined) acted(action, work.what, status);
    });
  } catch (error) {
    failed(error);
    if (!response.headersSent)
      sendJson(response, 500, { error: error instanceof Error ? error.message : 'failed' });
  }
}
