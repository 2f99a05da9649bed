import type { AccessConfig, GuardedListener } from '../config/access/access-config.ts';
import { canonicalAddress, IpRules, Networks, type AllowAndDeny } from './ip-rules.ts';

/** Whom one listener lets in, and whose word it takes on who a client is. A reload changes it in place. */
export class ListenerNetworks {
  readonly #listener: GuardedListener;
  readonly #rules: IpRules;
  #trusted: Networks;
  #proxyProtocol: boolean;
  /** Whether this host itself is let in, whatever the rules say. */
  #openHere: boolean;

  /** @throws when an entry is not an address or a CIDR block; the config schema has checked them before. */
  constructor(listener: GuardedListener, access: AccessConfig) {
    this.#listener = listener;
    this.#rules = new IpRules(listsOf(listener, access));
    this.#trusted = new Networks(access.trustedProxies);
    this.#proxyProtocol = access.proxyProtocol;
    this.#openHere = isOpenHere(listener, access);
  }

  /** @throws as the constructor, and changes nothing. */
  change(access: AccessConfig): void {
    const trusted = new Networks(access.trustedProxies);
    this.#rules.change(listsOf(this.#listener, access));
    this.#trusted = trusted;
    this.#proxyProtocol = access.proxyProtocol;
    this.#openHere = isOpenHere(this.#listener, access);
  }

  /** `address`: of a TCP peer, or of the client behind it. */
  admits(address: string): boolean {
    return this.#rules.admits(address) || (this.#openHere && THIS_HOST.include(canonicalAddress(address)));
  }

  /** Whether that address is a proxy's whose word is taken. Canonical. */
  trusts(address: string): boolean {
    return this.#trusted.include(address);
  }

  /** Whether that peer has to begin with the header of the PROXY protocol; nobody else's is read. */
  announces(peer: string): boolean {
    return this.#proxyProtocol && this.#listener !== 'admin' && this.trusts(peer);
  }
}

const THIS_HOST = new Networks(['127.0.0.0/8', '::1']);

/** The listener's own lists, or the common ones. */
function listsOf(listener: GuardedListener, { listeners, allow, deny }: AccessConfig): AllowAndDeny {
  return listeners[listener] ?? { allow, deny };
}

/** Lists that are about clients do not keep this host from asking its own edge how it is. */
function isOpenHere(listener: GuardedListener, { listeners }: AccessConfig): boolean {
  return listener === 'admin' && listeners.admin === undefined;
}
