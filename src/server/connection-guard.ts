import type { Server, Socket } from 'node:net';
import { canonicalAddress, type IpRules } from '../access/ip-rules.ts';

/**
 * Puts the address rules in front of a server: a peer that is not let in is closed before a byte is read, TLS or not.
 * Node hands the raw socket to the server's own `connection` listeners, so ours takes their place and calls them.
 *
 * Returns what to call when the rules have changed: it closes the open connections that they no longer admit.
 */
export function guardConnections(
  server: Server,
  rules: IpRules,
  refused: (peer: string) => void,
): () => void {
  const inner = server.listeners('connection');
  const open = new Set<Socket>();
  const admitted = (socket: Socket): boolean => {
    if (rules.admits(socket.remoteAddress)) return true;
    refused(canonicalAddress(socket.remoteAddress ?? ''));
    socket.destroy();
    return false;
  };
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    if (!admitted(socket)) return;
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    for (const listener of inner) Reflect.apply(listener, server, [socket]);
  });
  return () => {
    for (const socket of open) admitted(socket);
  };
}
