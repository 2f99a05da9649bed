import type { Socket } from 'node:net';
import type { ListenerNetworks } from '../../access/listener-networks.ts';

/** An accepted connection. */
export class Connection {
  readonly socket: Socket;
  /** Canonical address of the TCP peer. */
  readonly peer: string;
  readonly networks: ListenerNetworks;
  /** Canonical; of the client behind the peer where a proxy has announced one. Undefined until that is known. */
  address: string | undefined;
  /** Requests whose answers have not ended. */
  #underWay = 0;
  #served = 0;

  constructor(socket: Socket, peer: string, networks: ListenerNetworks) {
    this.socket = socket;
    this.peer = peer;
    this.networks = networks;
  }

  /** Whether it is still to bring its first request: nothing is known of it but that it holds a place. */
  get isNew(): boolean {
    return this.#served === 0 && this.#underWay === 0;
  }

  get isBusy(): boolean {
    return this.#underWay > 0;
  }

  /** Whether the rules that are in force now let it go on. */
  get isAdmitted(): boolean {
    const { peer, networks, address = peer } = this;
    if (!networks.admits(peer) || !networks.admits(address)) return false;
    // Nobody vouches for the address any more.
    return address === peer || networks.announces(peer);
  }

  began(): void {
    this.#underWay += 1;
  }

  ended(): void {
    this.#underWay -= 1;
    this.#served += 1;
  }
}
