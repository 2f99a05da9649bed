import type { IncomingMessage } from 'node:http';
import { clientAddress, UnknownClient } from '../../access/proxies/client-address.ts';
import type { Connections } from './connections.ts';

/** Whom a request comes from. */
export interface Client {
  /** Canonical; of who has connected where the client's own cannot be told. */
  readonly address: string;
  /** Why it is not let in. */
  readonly refused?: string;
}

/** The peer was let in when it connected; a client that a proxy's header names is judged here, by the same lists. */
export function clientOf(request: IncomingMessage, connections: Connections): Client {
  const connection = connections.of(request.socket);
  const connected = connection?.address;
  if (connection === undefined || connected === undefined)
    return { address: '', refused: 'the connection is not known' };
  const { networks } = connection;
  try {
    const address = clientAddress(connected, request.headers, (hop) => networks.trusts(hop));
    if (address === connected || networks.admits(address)) return { address };
    return { address, refused: 'access.allow and access.deny' };
  } catch (error) {
    if (error instanceof UnknownClient) return { address: connected, refused: error.message };
    throw error;
  }
}
