import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import type { Socket } from 'node:net';
import { canonicalAddress } from '../../access/ip-rules.ts';
import type { ListenerNetworks } from '../../access/listener-networks.ts';
import type { Clock } from '../../lib/clock.ts';
import { hearAnnouncement } from './announced-address.ts';
import type { Connection } from './connection.ts';
import type { Connections } from './connections.ts';

export interface GuardParts {
  readonly networks: ListenerNetworks;
  readonly connections: Connections;
  readonly clock: Clock;
}

export interface Guard {
  /** The rules have changed: closes the open connections that they no longer let in. */
  readonly enforce: () => void;
  /** Closes all of them. */
  readonly destroy: () => void;
}

/**
 * Stands in front of a server: a peer that is not let in, or for whom there is no room, is closed before a byte is read, TLS or not. What
 * trusted proxies announce is read here as well, so that the server sees the client's bytes alone. Called when the server has all its
 * listeners.
 */
export function guardConnections(
  server: Server | SecureServer,
  { networks, connections, clock }: GuardParts,
): Guard {
  // Node hands the raw socket to the server's own `connection` listeners: ours takes their place and calls them.
  const inner = server.listeners('connection');
  server.removeAllListeners('connection');
  /** Of TLS sockets, which do not tell what they are around. */
  const byEnds = new Map<string, Connection>();

  const serve = (connection: Connection): void => {
    const { socket } = connection;
    const ends = endsOf(socket);
    byEnds.set(ends, connection);
    socket.once('close', () => {
      // The same ends may be in use again by then.
      if (byEnds.get(ends) === connection) byEnds.delete(ends);
    });
    for (const listener of inner) Reflect.apply(listener, server, [socket]);
  };
  server.on('connection', (socket: Socket) => {
    // Gone again.
    if (socket.remoteAddress === undefined) return void socket.destroy();
    const peer = canonicalAddress(socket.remoteAddress);
    if (!networks.admits(peer)) return connections.refuse(socket, peer, 'network');
    if (!networks.announces(peer)) {
      const connection = connections.open(socket, peer, networks, peer);
      if (connection !== undefined) serve(connection);
      return;
    }
    const connection = connections.open(socket, peer, networks);
    if (connection === undefined) return;
    hearAnnouncement(socket, clock, (announcement) => {
      if (announcement.kind === 'refused') connections.refuse(socket, peer, 'proxy');
      else if (connections.announce(connection, announcement.address ?? peer)) serve(connection);
    });
  });
  server.prependListener('secureConnection', (socket: Socket) => {
    const connection = byEnds.get(endsOf(socket));
    if (connection === undefined) socket.destroy();
    else connections.wrap(connection, socket);
  });
  const follow = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = connections.of(request.socket);
    if (connection === undefined) return;
    connections.began(connection);
    response.once('close', () => connections.ended(connection));
  };
  // Those without a listener are Node's own to answer, as long as they have none.
  for (const event of ['request', 'checkContinue', 'checkExpectation'])
    if (server.listenerCount(event) > 0) server.prependListener(event, follow);
  return {
    enforce: () => connections.enforce(networks),
    destroy: () => connections.destroy(networks),
  };
}

function endsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
