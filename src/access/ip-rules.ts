import { BlockList, isIP, SocketAddress } from 'node:net';

/**
 * An address as the rules see it, in its one spelling and without a zone: an IPv4 address that came in over IPv6 is
 * the IPv4 address. What is no address comes back as it is.
 */
export function canonicalAddress(address: string): string {
  const bare = address.replace(/%.*$/, '').toLowerCase();
  if (isIP(bare) !== 6) return bare;
  const canonical = new SocketAddress({ address: bare, family: 'ipv6' }).address;
  return /^::ffff:([0-9.]+)$/.exec(canonical)?.[1] ?? canonical;
}

export interface AllowAndDeny {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

/** Which networks may connect: in `allow` and not in `deny`. */
export class IpRules {
  #allow: Networks;
  #deny: Networks;

  /** @throws when an entry is not an address or a CIDR block; the config schema has checked them before. */
  constructor(rules: AllowAndDeny) {
    this.#allow = new Networks(rules.allow);
    this.#deny = new Networks(rules.deny);
  }

  /** Other rules from here on, for everybody who holds these. @throws as the constructor, and changes nothing. */
  change(rules: AllowAndDeny): void {
    const [allow, deny] = [new Networks(rules.allow), new Networks(rules.deny)];
    this.#allow = allow;
    this.#deny = deny;
  }

  /** `peer`: the TCP peer's address as `node:net` gives it; undefined (already gone) is refused. */
  admits(peer: string | undefined): boolean {
    if (peer === undefined) return false;
    const address = canonicalAddress(peer);
    return this.#allow.include(address) && !this.#deny.include(address);
  }
}

/** A set of networks. One list per family: in a common one, `::/0` would hold every IPv4 address as well. */
export class Networks {
  readonly #ipv4 = new BlockList();
  readonly #ipv6 = new BlockList();

  constructor(entries: readonly string[]) {
    for (const entry of entries) {
      const [network = '', prefix] = entry.split('/');
      const address = canonicalAddress(network);
      const [list, family] =
        isIP(address) === 4 ? [this.#ipv4, 'ipv4' as const] : [this.#ipv6, 'ipv6' as const];
      const mappedBits = family === 'ipv4' && isIP(network) === 6 ? 96 : 0;
      if (prefix === undefined) list.addAddress(address, family);
      else list.addSubnet(address, Number(prefix) - mappedBits, family);
    }
  }

  /** `address` is canonical. */
  include(address: string): boolean {
    switch (isIP(address)) {
      case 4:
        return this.#ipv4.check(address, 'ipv4');
      case 6:
        return this.#ipv6.check(address, 'ipv6');
      default:
        return false;
    }
  }
}
