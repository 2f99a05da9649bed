import { isIP } from 'node:net';

/** A header of the PROXY protocol, version 1. */
export function v1(source: string, target = source, from = 50_000, to = 443): Buffer {
  return Buffer.from(`PROXY TCP${isIP(source)} ${source} ${target} ${from} ${to}\r\n`);
}

export interface V2 {
  readonly kind?: 'proxy' | 'local';
  readonly source?: string;
  readonly target?: string;
  readonly from?: number;
  readonly to?: number;
  readonly tlvs?: Buffer;
  /** In place of what `kind` and `source` make of them. */
  readonly command?: number;
  readonly family?: number;
  readonly block?: Buffer;
}

/** The same, version 2. */
export function v2({ kind = 'proxy', source = '192.0.2.1', from = 50_000, to = 443, ...given }: V2): Buffer {
  const { target = source, tlvs = Buffer.alloc(0) } = given;
  const local = kind === 'local';
  const block =
    given.block ??
    (local || given.family === 0
      ? Buffer.alloc(0)
      : Buffer.concat([octets(source), octets(target), short(from), short(to)]));
  const command = given.command ?? (local ? 0x20 : 0x21);
  const family = given.family ?? (local ? 0x00 : isIP(source) === 6 ? 0x21 : 0x11);
  return Buffer.concat([
    Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'),
    Buffer.from([command, family]),
    short(block.length + tlvs.length),
    block,
    tlvs,
  ]);
}

function short(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function octets(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  // The URL parser writes an embedded IPv4 address as two groups.
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [front = '', back] = text.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [left, right] = [groups(front), groups(back ?? '')];
  const zeros = back === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => '0');
  return Buffer.concat([...left, ...zeros, ...right].map((group) => short(Number.parseInt(group, 16))));
}
