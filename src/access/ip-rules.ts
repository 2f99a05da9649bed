import { BlockList, isIP } from 'node:net';

/** An address as the rules see it: an IPv4 address that came in over IPv6 is the IPv4 address. */
export function canonicalAddress(address: string): string {
  const bare = address.replace(/%.*$/, '').toLowerCase();
  const mapped = /^(?:::|0:0:0:0:0:)ffff:(.+)$/.exec(bare)?.[1];
  if (mapped === undefined) return bare;
  if (isIP(mapped) === 4) return mapped;
  const [, high, low] = /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(mapped) ?? [];
  if (high === undefined || low === undefined) return bare;
  const octets = [
    Number.parseInt(high, 16) >> 8,
    Number.parseInt(high, 16) & 255,
    Number.parseInt(low, 16) >> 8,
    Number.parseInt(low, 16) & 255,
  ];
  return octets.join('.');
}

/** Which networks may connect: in `allow` and not in `deny`. */
export class IpRules {
  readonly #allow: BlockList;
  readonly #deny: BlockList;

  /** @throws when an entry is not an address or a CIDR block; the config schema has checked them before. */
  constructor(rules: { readonly allow: readonly string[]; readonly deny: readonly string[] }) {
    this.#allow = blockList(rules.allow);
    this.#deny = blockList(rules.deny);
  }

  /** `peer`: the TCP peer's address as `node:net` gives it; undefined (already gone) is refused. */
  admits(peer: string | undefined): boolean {
    if (peer === undefined) return false;
    const address = canonicalAddress(peer);
    const version = isIP(address);
    if (version === 0) return false;
    const family = version === 4 ? 'ipv4' : 'ipv6';
    return this.#allow.check(address, family) && !this.#deny.check(address, family);
  }
}

function blockList(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [network = '', prefix] = entry.split('/');
    const address = canonicalAddress(network);
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    const mappedBits = address === network.toLowerCase() ? 0 : 96;
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Math.max(0, Number(prefix) - mappedBits), family);
  }
  return list;
}
