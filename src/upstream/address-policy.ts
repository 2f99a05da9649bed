import { BlockList, isIP, type LookupFunction } from 'node:net';

/**
 * How local an address is. `local`: link-local and the clouds' metadata services, which hand credentials to whoever
 * asks. `forbidden`: what no server has (unspecified, multicast, documentation, reserved).
 */
export type AddressClass = 'public' | 'private' | 'loopback' | 'local' | 'forbidden';

export type Classify = (address: string) => AddressClass;

// The first list that holds the address decides: metadata addresses lie within wider ranges.
const RANGES: readonly (readonly [AddressClass, string])[] = [
  ['local', '100.100.100.200/32 168.63.129.16/32 169.254.0.0/16 fd00:ec2::254/128 fe80::/10'],
  ['loopback', '127.0.0.0/8 ::1/128'],
  ['private', '10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.168.0.0/16 fc00::/7'],
  ['forbidden', '0.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24'],
  ['forbidden', '203.0.113.0/24 224.0.0.0/3 2001::/23 2001:db8::/32 3fff::/20'],
];
const LISTS = RANGES.map(([kind, ranges]) => {
  const list = new BlockList();
  for (const range of ranges.split(' ')) {
    const [network = '', bits] = range.split('/');
    list.addSubnet(network, Number(bits), isIP(network) === 6 ? 'ipv6' : 'ipv4');
  }
  return [kind, list] as const;
});

/** @param address without brackets; what is no address is `forbidden`. */
export function classifyAddress(address: string): AddressClass {
  const bare = address.split('%', 1)[0] ?? '';
  if (isIP(bare) === 4) return inLists(bare, 'ipv4') ?? 'public';
  if (isIP(bare) !== 6) return 'forbidden';
  const groups = groupsOf(bare);
  const inner = innerAddress(groups);
  if (inner !== undefined) return classifyAddress(inner);
  // 2000::/3 is all that IANA has given out as global unicast.
  return inLists(bare, 'ipv6') ?? (((groups[0] ?? 0) & 0xe000) === 0x2000 ? 'public' : 'forbidden');
}

/**
 * Whether something that an upstream names (a redirect target, a token realm) may be asked: public addresses always,
 * others only when the upstream is itself at such an address, or nearer to this machine.
 */
export function mayReach(target: AddressClass, upstream: AddressClass): boolean {
  if (target === 'forbidden') return false;
  return target === 'public' || target === upstream || (target === 'private' && upstream === 'loopback');
}

/** A name or an address that was refused before a byte was sent to it. */
export class AddressRefusedError extends Error {
  override readonly name = 'AddressRefusedError';
}

/**
 * A lookup whose answer is checked each time that a connection is made, so that a name cannot point elsewhere after it
 * was approved. One bad address refuses the whole answer.
 */
export function checkedLookup(
  lookup: LookupFunction,
  refusal: (addresses: readonly string[]) => Error | undefined,
): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, options, (error, address, family) => {
      if (error !== null) return callback(error, address, family);
      const refused = refusal(typeof address === 'string' ? [address] : address.map((one) => one.address));
      if (refused !== undefined) return callback(refused, '', 0);
      callback(null, address, family);
    });
  };
}

/**
 * Where the upstream itself is, as DNS says whenever a connection to it is made. A name may move between public and
 * private addresses (a VPN comes up), but not to this machine when it was not there at first: that is rebinding.
 */
export class HomeAddress {
  readonly #classify: Classify;
  #first: AddressClass | undefined;
  #latest: AddressClass | undefined;

  /** @param hostname as in a URL, IPv6 in brackets. */
  constructor(hostname: string, classify: Classify) {
    this.#classify = classify;
    const literal = literalAddress(hostname);
    if (literal !== undefined) this.#first = this.#latest = classify(literal);
  }

  /** `public`, the strictest, until the name was resolved. */
  get class(): AddressClass {
    return this.#latest ?? 'public';
  }

  /** Why these addresses must not be connected to; takes note of them otherwise. */
  refusal(addresses: readonly string[]): Error | undefined {
    const classes = addresses.map(this.#classify);
    const nearer = classes.find(
      (kind) =>
        kind === 'forbidden' ||
        (this.#first !== undefined && kind !== 'private' && !mayReach(kind, this.#first)),
    );
    if (nearer !== undefined) return new Error(`the upstream's name now leads to a ${nearer} address`);
    this.#latest = classes.includes('public') ? 'public' : (classes[0] ?? 'public');
    this.#first ??= this.#latest;
    return undefined;
  }
}

/** The address in a URL's hostname, `undefined` for a name. */
export function literalAddress(hostname: string): string | undefined {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return isIP(bare) === 0 ? undefined : bare;
}

function inLists(address: string, family: 'ipv4' | 'ipv6'): AddressClass | undefined {
  return LISTS.find(([, list]) => list.check(address, family))?.[0];
}

/** The eight groups of an IPv6 address; the URL parser writes the dotted form and leading zeros away. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
}

/** The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056). */
function innerAddress(groups: readonly number[]): string | undefined {
  const prefix = groups.slice(0, 6).map((group) => group.toString(16));
  const inLastGroups =
    prefix.join(':') === '0:0:0:0:0:ffff' ||
    prefix.join(':') === '0:0:0:0:ffff:0' ||
    prefix.join(':') === '64:ff9b:0:0:0:0' ||
    prefix.slice(0, 3).join(':') === '64:ff9b:1' ||
    (prefix.every((group) => group === '0') && (groups[6] ?? 0) !== 0);
  if (inLastGroups) return dotted(groups[6], groups[7]);
  return prefix[0] === '2002' ? dotted(groups[1], groups[2]) : undefined;
}

function dotted(high = 0, low = 0): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
