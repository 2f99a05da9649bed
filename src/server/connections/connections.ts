import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { addressKey } from '../../access/caller-key.ts';
import type { ListenerNetworks } from '../../access/listener-networks.ts';
import { seconds, type Bytes } from '../../lib/brand.ts';
import type { Clock } from '../../lib/clock.ts';
import { Connection } from './connection.ts';
import { Crowd } from './crowd.ts';
import { ReadingPace } from './reading-pace.ts';

/** Why a connection was closed as soon as it came. */
export type Refusal = 'network' | 'proxy' | 'address' | 'listener';
/** Why an open connection was closed: to make room, or for what its client does. */
export type Closing = 'idle' | 'unasked' | 'slow' | 'pipelined';

export interface ConnectionLimits {
  /** Of each listener. */
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** Per second, that a client has to read at least; 0 asks for none. */
  readonly minRate: Bytes;
}

export interface ConnectionsParts {
  readonly limits: ConnectionLimits;
  readonly clock: Clock;
  /** `client`: canonical address, as far as it is known. */
  readonly refused: (client: string, reason: Refusal) => void;
  readonly closed: (reason: Closing) => void;
}

const PACE_INTERVAL = seconds(1);

/**
 * The open connections of one worker, over all its listeners. At a limit the one that loses least makes room; a connection with a request
 * under way never does. So who holds many connections and asks nothing keeps nobody out, and a refusal costs no more than the accept.
 */
export class Connections {
  readonly #parts: ConnectionsParts;
  #limits: ConnectionLimits;
  readonly #open = new Set<Connection>();
  readonly #byListener = new Map<ListenerNetworks, Crowd>();
  readonly #byAddress = new Map<string, Crowd>();
  /** By the socket that requests come on: the TCP one, or the TLS one around it. */
  readonly #bySocket = new WeakMap<Duplex, Connection>();
  readonly #paces = new Map<Connection, ReadingPace>();
  #isWatching = false;

  constructor(parts: ConnectionsParts) {
    this.#parts = parts;
    this.#limits = parts.limits;
  }

  sizeOf(networks: ListenerNetworks): number {
    return this.#byListener.get(networks)?.size ?? 0;
  }

  /** For the connections to come, and for how fast all have to read from here on. */
  change(limits: ConnectionLimits): void {
    this.#limits = limits;
  }

  get minRate(): Bytes {
    return this.#limits.minRate;
  }

  of(socket: Duplex): Connection | undefined {
    return this.#bySocket.get(socket);
  }

  /** Undefined, and the socket closed, when there is no room. The client's address may be told later: {@link announce}. */
  open(socket: Socket, peer: string, networks: ListenerNetworks, address?: string): Connection | undefined {
    const connection = new Connection(socket, peer, networks);
    // First: an address at its limit must not cost another one its place.
    if (address !== undefined && !this.#place(connection, address)) return undefined;
    const crowd = this.#byListener.get(networks) ?? new Crowd();
    this.#byListener.set(networks, crowd);
    if (!this.#makeRoom(crowd, this.#limits.connections)) {
      this.refuse(socket, address ?? peer, 'listener');
      this.#leaveAddress(connection);
      return undefined;
    }
    crowd.join(connection);
    this.#open.add(connection);
    this.#bySocket.set(socket, connection);
    socket.once('close', () => this.#forget(connection));
    return connection;
  }

  /** The client behind the peer is known now. False, and the connection closed, when it is not let in. */
  announce(connection: Connection, address: string): boolean {
    // It may have had to make room meanwhile: what is gone must not take a place.
    if (!this.#open.has(connection)) return false;
    if (connection.networks.admits(address)) return this.#place(connection, address);
    this.refuse(connection.socket, address, 'network');
    return false;
  }

  refuse(socket: Socket, client: string, reason: Refusal): void {
    // Else it went by itself, or had to make room.
    if (!socket.destroyed) this.#parts.refused(client, reason);
    socket.destroy();
  }

  /** Requests come on that socket, which is around the connection's own. */
  wrap(connection: Connection, socket: Duplex): void {
    this.#bySocket.set(socket, connection);
  }

  began(connection: Connection): void {
    if (!this.#open.has(connection)) return;
    connection.began();
    this.#moved(connection);
    if (!this.#paces.has(connection)) this.#paces.set(connection, new ReadingPace(connection.socket));
    void this.#watch();
  }

  ended(connection: Connection): void {
    if (!this.#open.has(connection)) return;
    connection.ended();
    this.#moved(connection);
    if (!connection.isBusy) this.#paces.delete(connection);
  }

  /** A request came and was answered at once. */
  served(connection: Connection): void {
    if (!this.#open.has(connection)) return;
    connection.began();
    connection.ended();
    this.#moved(connection);
  }

  /** Ends the connection that requests come on by this socket. */
  cut(socket: Duplex, reason: Closing): void {
    const connection = this.of(socket);
    if (connection !== undefined && this.#open.has(connection)) this.#close(connection, reason);
  }

  /** The rules have changed: closes what they no longer let in. */
  enforce(networks: ListenerNetworks): void {
    for (const connection of this.#open) {
      if (connection.networks !== networks || connection.isAdmitted) continue;
      this.refuse(connection.socket, connection.address ?? connection.peer, 'network');
      this.#forget(connection);
    }
  }

  /** Ends those of one listener, with FIN. */
  destroy(networks: ListenerNetworks): void {
    for (const connection of this.#open) if (connection.networks === networks) connection.socket.destroy();
  }

  #place(connection: Connection, address: string): boolean {
    const key = addressKey(address);
    const crowd = this.#byAddress.get(key) ?? new Crowd();
    if (!this.#makeRoom(crowd, this.#limits.connectionsPerAddress)) {
      this.refuse(connection.socket, address, 'address');
      return false;
    }
    // Making room may have been the end of a crowd of one.
    this.#byAddress.set(key, crowd);
    connection.address = address;
    crowd.join(connection);
    return true;
  }

  #makeRoom(crowd: Crowd, limit: number): boolean {
    while (crowd.size >= limit) {
      const given = crowd.leastMissed;
      if (given === undefined) return false;
      this.#close(given, given.isNew ? 'unasked' : 'idle');
    }
    return true;
  }

  /** Its place is free at once; the socket's own `close` comes later. */
  #close(connection: Connection, reason: Closing): void {
    this.#parts.closed(reason);
    this.#forget(connection);
    connection.socket.destroy();
  }

  #forget(connection: Connection): void {
    if (!this.#open.delete(connection)) return;
    this.#byListener.get(connection.networks)?.leave(connection);
    this.#leaveAddress(connection);
    this.#paces.delete(connection);
  }

  #leaveAddress(connection: Connection): void {
    if (connection.address === undefined) return;
    const key = addressKey(connection.address);
    const crowd = this.#byAddress.get(key);
    crowd?.leave(connection);
    if (crowd?.size === 0) this.#byAddress.delete(key);
  }

  #moved(connection: Connection): void {
    this.#byListener.get(connection.networks)?.moved(connection);
    if (connection.address !== undefined)
      this.#byAddress.get(addressKey(connection.address))?.moved(connection);
  }

  /** As long as anything is being answered. */
  async #watch(): Promise<void> {
    if (this.#isWatching) return;
    this.#isWatching = true;
    while (this.#paces.size > 0) {
      await this.#parts.clock.sleep(PACE_INTERVAL);
      for (const [connection, pace] of this.#paces) {
        if (!pace.isTooSlow(this.#limits.minRate, PACE_INTERVAL)) continue;
        this.#close(connection, 'slow');
      }
    }
    this.#isWatching = false;
  }
}
