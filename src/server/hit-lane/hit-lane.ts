import type { Server, Socket } from 'node:net';
import { KEEP_ALIVE_MS, MAX_REQUESTS_PER_SOCKET } from '../keep-alive.ts';
import { readRequestHead, type RequestHead } from './request-head.ts';

/**
 * The whole answer, and undefined where somebody would have to be waited for, or it is no hit. `last`: the connection ends behind it.
 * Never throws.
 */
export type FindHit = (head: RequestHead, socket: Socket, last: boolean) => Buffer | undefined;

/** A connection that brings nothing for so long is the server's to time: its limit for headers counts from here. */
const SILENCE_MS = 500;

/**
 * In front of an HTTP server: answers requests that are hits of what is in memory straight from the socket, as long as a connection
 * brings nothing else. With the first byte of anything else, the connection is the server's for good. Node's server takes 35 µs of CPU to
 * answer a request with a constant; a socket takes 12.
 *
 * Nothing is kept of a request: one that did not come whole and alone is not ours.
 */
export class HitLane {
  readonly #find: FindHit;
  readonly #handOver: (socket: Socket) => void;
  readonly #sockets = new Set<Socket>();
  #draining = false;

  /** Takes the place of the first listener of `event`, which is the HTTP server's own, and calls it for what it hands over. */
  constructor(server: Server, event: 'connection' | 'secureConnection', find: FindHit) {
    const [own] = server.listeners(event);
    if (own === undefined) throw new Error(`no server listens for ${event}`);
    this.#find = find;
    this.#handOver = (socket) => void Reflect.apply(own, server, [socket]);
    server.removeListener(event, own as () => void);
    server.prependListener(event, (socket: Socket) => this.#take(socket));
  }

  /** Connections that wait for a request end now, all others behind their answer. */
  drain(): void {
    this.#draining = true;
    for (const socket of this.#sockets) socket.destroySoon();
  }

  #take(socket: Socket): void {
    let requests = 0;
    const leave = (): void => {
      this.#sockets.delete(socket);
      socket.removeListener('data', onData).removeListener('timeout', onTimeout);
      socket.removeListener('end', onEnd).removeListener('error', ignore).removeListener('close', leave);
    };
    const handOver = (bytes?: Buffer): void => {
      leave();
      socket.setTimeout(0);
      if (bytes !== undefined) socket.unshift(bytes);
      this.#handOver(socket);
    };
    const onData = (bytes: Buffer): void => {
      const head = socket.writableLength === 0 ? readRequestHead(bytes) : undefined;
      requests += 1;
      const last = this.#draining || head?.close === true || requests >= MAX_REQUESTS_PER_SOCKET;
      const answer = head && this.#find(head, socket, last);
      if (answer === undefined) return handOver(bytes);
      if (requests === 1) socket.setTimeout(KEEP_ALIVE_MS);
      socket.write(answer);
      if (last) socket.destroySoon();
    };
    const onTimeout = (): void => {
      if (requests === 0) handOver();
      else socket.destroy();
    };
    const onEnd = (): void => void socket.end();
    this.#sockets.add(socket);
    socket
      .on('data', onData)
      .on('timeout', onTimeout)
      .on('end', onEnd)
      .on('error', ignore)
      .on('close', leave);
    socket.setTimeout(SILENCE_MS);
  }
}

/** What broke ends in `close`. */
function ignore(): void {
  return undefined;
}
