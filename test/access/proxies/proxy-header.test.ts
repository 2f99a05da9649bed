import * as fc from 'fast-check';
import t from 'tap';
import { canonicalAddress } from '../../../src/access/ip-rules.ts';
import { readProxyHeader } from '../../../src/access/proxies/proxy-header.ts';
import { v1, v2 } from '../../support/proxy-header.ts';

const port = fc.nat(65_535);
const ends = fc.oneof(fc.tuple(fc.ipV4(), fc.ipV4(), port, port), fc.tuple(fc.ipV6(), fc.ipV6(), port, port));
const tlvs = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const header = fc.oneof(
  ends.map(([source, target, from, to]) => ({ source, bytes: v1(source, target, from, to) })),
  fc.tuple(ends, tlvs).map(([[source, target, from, to], tlvs]) => ({
    source,
    bytes: v2({ source, target, from, to, tlvs }),
  })),
);
const rest = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));

void t.test('both versions: the address, the length, and nothing of what follows', async () => {
  fc.assert(
    fc.property(header, rest, ({ source, bytes }, rest) => {
      t.same(readProxyHeader(Buffer.concat([bytes, rest])), {
        kind: 'whole',
        address: canonicalAddress(source),
        length: bytes.length,
      });
    }),
  );
});

void t.test('every beginning of a header is only a beginning', async () => {
  fc.assert(
    fc.property(header, ({ bytes }) => {
      for (let length = 0; length < bytes.length; length++)
        if (readProxyHeader(bytes.subarray(0, length)).kind !== 'partial') throw new Error(`at ${length}`);
    }),
    { numRuns: 30 },
  );
});

void t.test('no bytes make it throw, and what is whole lies within them and its bounds', async () => {
  const likely = fc
    .tuple(fc.constantFrom(Buffer.from('PROXY '), v2({ kind: 'local' }).subarray(0, 12)), rest)
    .map(([start, rest]) => Buffer.concat([start, rest]));
  fc.assert(
    fc.property(fc.oneof(rest, likely), (bytes) => {
      const read = readProxyHeader(bytes);
      if (read.kind !== 'whole') return;
      if (read.length > bytes.length || read.length > 4096) throw new Error(`length ${read.length}`);
      if (read.address !== undefined && canonicalAddress(read.address) !== read.address)
        throw new Error(read.address);
    }),
    { numRuns: 1000 },
  );
});

void t.test('a proxy that speaks for itself, or cannot tell', async (t) => {
  const unannounced = (bytes: Buffer): void => {
    t.same(readProxyHeader(bytes), { kind: 'whole', address: undefined, length: bytes.length });
  };
  unannounced(Buffer.from('PROXY UNKNOWN\r\n'));
  unannounced(Buffer.from('PROXY UNKNOWN ffff::1 whatever it says\r\n'));
  unannounced(v2({ kind: 'local' }));
  unannounced(v2({ kind: 'local', tlvs: Buffer.alloc(100) }));
  unannounced(v2({ family: 0x00 }));
  unannounced(v2({ family: 0x31, block: Buffer.alloc(216) }));
});

void t.test('malformed, as soon as it can be seen', async (t) => {
  const text = (line: string): Buffer => Buffer.from(line, 'latin1');
  const cases: Record<string, Buffer> = {
    'a ClientHello': text('\x16\x03\x01'),
    'a request': text('GET '),
    'half of both': text('\r\n\r\nPROXY'),
    'another family': text('PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n'),
    'IPv6 as TCP4': text('PROXY TCP4 ::1 ::1 1 2\r\n'),
    'IPv4 as TCP6': text('PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n'),
    'no address': text('PROXY TCP4 x 1.2.3.4 1 2\r\n'),
    'a zone': text('PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n'),
    'a port too high': text('PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n'),
    'a port with a zero': text('PROXY TCP4 1.2.3.4 1.2.3.4 080 2\r\n'),
    'two spaces': text('PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n'),
    'no ports': text('PROXY TCP4 1.2.3.4 1.2.3.4\r\n'),
    'one thing more': text('PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n'),
    'a line of 108 bytes': text(`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`),
    'a line without end': text(`PROXY UNKNOWN ${'x'.repeat(93)}`),
    'LF alone': text(`PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n${'x'.repeat(107)}`),
    'version 3': v2({ command: 0x31 }),
    'another command': v2({ command: 0x22 }),
    UDP: v2({ family: 0x12, block: Buffer.alloc(12) }),
    'no room for the addresses': v2({ family: 0x21, block: Buffer.alloc(35) }),
    'over 4 KiB': v2({ block: Buffer.alloc(12), tlvs: Buffer.alloc(4096) }),
  };
  for (const [name, bytes] of Object.entries(cases))
    t.same(readProxyHeader(bytes), { kind: 'malformed' }, name);
  t.equal(
    readProxyHeader(text(`PROXY UNKNOWN ${'x'.repeat(91)}\r\n`)).kind,
    'whole',
    '107 bytes are allowed',
  );
});
