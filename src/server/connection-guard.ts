import type { Server, Socket } from 'node:net';
import { canonicalAddress, type IpRules } from '../access/ip-rules.ts';

/**
 * Puts the address rules in front of a server: a peer that is not let in is closed before a byte is read, TLS or not.
 * Node hands the raw socket to the server's own `connection` listeners, so ours takes their place and calls them.
 */
export function guardConnections(server: Server, rules: IpRules, refused: (peer: string) => void): void {
  const inner = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    if (!rules.admits(socket.remoteAddress)) {
      refused(canonicalAddress(socket.remoteAddress ?? ''));
      socket.destroy();
      return;
    }
    for (const listener of inner) Reflect.apply(listener, server, [socket]);
  });
}
