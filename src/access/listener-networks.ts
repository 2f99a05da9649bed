import type { AccessConfig, GuardedListener } from '../config/access/access-config.ts';
import { IpRules, Networks, type AllowAndDeny } from './ip-rules.ts';

/** Whom one listener lets in, and whose word it takes on who a client is. A reload changes it in place. */
export class ListenerNetworks {
  readonly #listener: GuardedListener;
  readonly #rules: IpRules;
  #trusted: Networks;
  #proxyProtocol: boolean;

  /** @throws when an entry is not an address or a CIDR block; the config schema has checked them before. */
  constructor(listener: GuardedListener, access: AccessConfig) {
    this.#listener = listener;
    this.#rules = new IpRules(listsOf(listener, access));
    this.#trusted = new Networks(access.trustedProxies);
    this.#proxyProtocol = access.proxyProtocol;
  }

  /** @throws as the constructor, and changes nothing. */
  change(access: AccessConfig): void {
    const trusted = new Networks(access.trustedProxies);
    this.#rules.change(listsOf(this.#listener, access));
    this.#trusted = trusted;
    this.#proxyProtocol = access.proxyProtocol;
  }

  /** `address`: of a TCP peer, or of the client behind it. */
  admits(address: string): boolean {
    return this.#rules.admits(address);
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

const THIS_HOST = ['127.0.0.0/8', '::1'];

/** The listener's own lists, or the common ones. This host itself may ask the admin listener unless lists of its own say otherwise. */
function listsOf(listener: GuardedListener, { listeners, allow, deny }: AccessConfig): AllowAndDeny {
  const own = listeners[listener];
  if (own !== undefined) return own;
  return listener === 'admin' ? { allow: [...allow, ...THIS_HOST], deny } : { allow, deny };
}
