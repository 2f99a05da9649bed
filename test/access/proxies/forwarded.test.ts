import * as fc from 'fast-check';
import t from 'tap';
import { canonicalAddress } from '../../../src/access/ip-rules.ts';
import { clientAddress, UnknownClient } from '../../../src/access/proxies/client-address.ts';
import { forwardedForHops, forwardedHops } from '../../../src/access/proxies/forwarded.ts';

const ipv4 = fc.ipV4();
const ipv6 = fc.ipV6();
const space = fc.constantFrom('', ' ', '\t', '  ');
const port = fc.nat(65_535);

/** An address, and ways to write it as a hop. */
const written = fc.oneof(
  ipv4.map((address) => ({ address, plain: [address], quoted: [address] })),
  fc.tuple(ipv4, port).map(([address, of]) => ({
    address,
    plain: [`${address}:${of}`],
    quoted: [`${address}:${of}`],
  })),
  fc.tuple(ipv6, port).map(([address, of]) => ({
    address,
    plain: [address, `[${address}]`, `[${address}]:${of}`],
    quoted: [`[${address}]`, `[${address}]:${of}`],
  })),
);

void t.test('X-Forwarded-For: every hop, however it is written', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(written, fc.nat(), space, space), { minLength: 1, maxLength: 6 }),
      (hops) => {
        const header = hops
          .map(([{ plain }, pick, before, after]) => before + plain[pick % plain.length] + after)
          .join(',');
        const expected = hops.map(([{ address }]) => canonicalAddress(address));
        t.same(forwardedForHops(header), expected, header);
      },
    ),
  );
});

/** One element of `Forwarded`: `for` among others, in any order and case. */
const element = fc
  .tuple(
    written,
    fc.nat(),
    fc.boolean(),
    fc.subarray(['proto=https', 'by="[::1]:80"', 'host="a, b;c=\\"d"', 'x=1']),
    fc.constantFrom('for', 'For', 'FOR'),
    space,
  )
  .map(([{ address, quoted }, pick, last, others, name, pad]) => {
    const pair = `${name}="${quoted[pick % quoted.length]}"`;
    const pairs = last ? [...others, pair] : [pair, ...others];
    return { address: canonicalAddress(address), text: pad + pairs.join(`${pad};${pad}`) + pad };
  });

void t.test('Forwarded: for of each element, whatever stands around it', async () => {
  fc.assert(
    fc.property(fc.array(element, { minLength: 1, maxLength: 5 }), (elements) => {
      const header = elements.map(({ text }) => text).join(',');
      t.same(
        forwardedHops(header),
        elements.map(({ address }) => address),
        header,
      );
    }),
  );
});

void t.test('Forwarded by hand', async (t) => {
  t.same(forwardedHops('for=192.0.2.43, for="[2001:db8:cafe::17]";proto=http'), [
    '192.0.2.43',
    '2001:db8:cafe::17',
  ]);
  t.same(forwardedHops('for=unknown, for=_hidden;by=_x, proto=http'), [undefined, undefined, undefined]);
  t.same(forwardedHops(String.raw`for="\1\9\2.0.2.1"`), ['192.0.2.1'], 'quoted pairs');
  t.same(forwardedHops('for="::ffff:10.0.0.1"'), ['10.0.0.1']);
  for (const header of [
    '',
    ',',
    'for',
    'for=',
    'for=1.2.3.4,',
    'for=1.2.3.4 for=5.6.7.8',
    'for=1.2.3.4;for=5.6.7.8',
    'for="1.2.3.4',
    'for="1.2.3.4"x',
    'for=1.2.3.4;',
    'for = 1.2.3.4',
    'for=[::1]',
    'for=1.2.3.4:80',
  ])
    t.equal(forwardedHops(header), undefined, `not well-formed: ${header}`);
});

void t.test('no text makes a hop that is no address, and none makes the parsers throw', async () => {
  const nasty = fc.string({ unit: fc.constantFrom(...Array.from('for="\\,;:[]. 01a%\t')) });
  fc.assert(
    fc.property(fc.oneof(fc.string(), nasty), (text) => {
      for (const hop of [...forwardedForHops(text), ...(forwardedHops(text) ?? [])])
        if (hop !== undefined && canonicalAddress(hop) !== hop) throw new Error(`${hop} is not canonical`);
    }),
  );
  t.same(forwardedForHops('300.1.1.1, 1.2.3.4:, [1.2.3.4], 1.2.3.4.5, ::1:80x, fe80::1%eth0, a'), [
    ...Array.from({ length: 5 }, () => undefined),
    'fe80::1',
    undefined,
  ]);
});

const PROXIES = ['10.0.0.1', '10.0.0.2', 'fd00::1'];
const trusts = (address: string): boolean => PROXIES.includes(address);
const stranger = ipv4.filter((address) => !trusts(address));

void t.test('the client is the rightmost hop that is no trusted proxy', async (t) => {
  const hops = fc.array(fc.oneof(stranger, fc.constantFrom(...PROXIES)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(hops, fc.constantFrom(...PROXIES), (chain, peer) => {
      const expected = chain.findLast((address) => !trusts(address)) ?? chain[0];
      t.equal(clientAddress(peer, { 'x-forwarded-for': chain.join(', ') }, trusts), expected);
      const forwarded = chain.map((hop) => `for="${hop.includes(':') ? `[${hop}]` : hop}"`).join(', ');
      t.equal(clientAddress(peer, { forwarded }, trusts), expected);
    }),
  );
});

void t.test('nobody but a trusted proxy is listened to', async () => {
  fc.assert(
    fc.property(stranger, fc.string(), (peer, text) => {
      t.equal(clientAddress(peer, { forwarded: text, 'x-forwarded-for': text }, trusts), peer);
    }),
  );
});

void t.test('what a client writes itself never makes it somebody else', async () => {
  const nasty = fc.string({ unit: fc.constantFrom(...Array.from('for=",;\\ 10.2_')) });
  fc.assert(
    fc.property(stranger, fc.oneof(fc.string(), nasty), (client, own) => {
      // The proxy puts the client's address behind what the client had sent.
      t.equal(clientAddress('10.0.0.1', { 'x-forwarded-for': `${own}, ${client}` }, trusts), client);
      for (const last of [`for=${client}`, `for="${client}";proto="https"`]) {
        try {
          t.equal(clientAddress('10.0.0.1', { forwarded: `${own}, ${last}` }, trusts), client);
        } catch (error) {
          if (!(error instanceof UnknownClient)) throw error;
        }
      }
    }),
  );
});

void t.test('what cannot be told is nobody', async (t) => {
  const told = (headers: Record<string, string>) => () => clientAddress('10.0.0.1', headers, trusts);
  for (const forwardedFor of ['', 'unknown', '1.2.3.4, garbage', 'garbage, 10.0.0.2', '1.2.3.4,'])
    t.throws(told({ 'x-forwarded-for': forwardedFor }), UnknownClient, forwardedFor);
  for (const forwarded of ['', 'for=unknown', 'for=1.2.3.4, for=_x', 'for=1.2.3.4, proto=http', 'for="1'])
    t.throws(told({ forwarded }), UnknownClient, forwarded);
  t.throws(told({ forwarded: 'for=1.2.3.4', 'x-forwarded-for': '1.2.3.5' }), /different clients/);
  t.throws(told({ forwarded: 'for=unknown', 'x-forwarded-for': '1.2.3.5' }), UnknownClient);
  t.equal(told({ forwarded: 'for=1.2.3.4', 'x-forwarded-for': '9.9.9.9, 1.2.3.4' })(), '1.2.3.4');
  t.equal(told({})(), '10.0.0.1', 'a proxy that names nobody asks for itself');
  t.equal(told({ 'x-forwarded-for': 'garbage, 1.2.3.4, 10.0.0.2' })(), '1.2.3.4', 'garbage is not reached');
});
