import type { Caller } from './caller.ts';
import { isIP } from 'node:net';

/**
 * By what a caller is counted: their name, or else their address. The addresses of one IPv6 /64 are one: whoever has one of them
 * has all of them.
 */
export function callerKey({ address, identity }: Caller): string {
  return identity === undefined ? addressKey(address) : `user ${identity.user}`;
}

/** `address` is canonical (`ip-rules.ts`), so `::` stands for the longest run of zeros. */
export function addressKey(address: string): string {
  if (isIP(address) !== 6) return address;
  const [front = '', back] = address.split('::');
  const groups = front === '' ? [] : front.split(':');
  if (back !== undefined) {
    const rest = back === '' ? [] : back.split(':');
    while (groups.length + rest.length < 8) groups.push('0');
    groups.push(...rest);
  }
  return `${groups.slice(0, 4).join(':')}::/64`;
}
