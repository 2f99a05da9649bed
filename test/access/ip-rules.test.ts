import * as fc from 'fast-check';
import t from 'tap';
import { canonicalAddress, IpRules } from '../../src/access/ip-rules.ts';

const ipv4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255));
const group = (high = 0, low = 0): string => ((high << 8) | low).toString(16);

/** Ways to write one and the same IPv4 address that came in over IPv6. */
function spellings(octets: readonly number[]): string[] {
  const [a, b, c, d] = octets;
  const dotted = octets.join('.');
  const hex = `${group(a, b)}:${group(c, d)}`;
  const long = `${group(a, b).padStart(4, '0')}:${group(c, d).padStart(4, '0')}`;
  const fronts = [
    '::ffff:',
    '::FFFF:',
    '0:0:0:0:0:ffff:',
    '0000:0000:0000:0000:0000:ffff:',
    '0::ffff:',
    '::0:ffff:',
  ];
  return [dotted, ...fronts.flatMap((front) => [front + dotted, front + hex, front + long])];
}

void t.test('an IPv4 address is one address, however it came in', async (t) => {
  fc.assert(
    fc.property(ipv4, (octets) =>
      spellings(octets).every((address) => canonicalAddress(address) === octets.join('.')),
    ),
  );
  t.equal(canonicalAddress('::ffff:127.0.0.1%eth0'), '127.0.0.1');
  t.equal(canonicalAddress('FE80::1%eth0'), 'fe80::1');
  t.equal(canonicalAddress('2001:DB8:0:0::1'), '2001:db8::1');
  t.equal(canonicalAddress('::1'), '::1');
  t.equal(canonicalAddress('::ffff:0:7f00:1'), '::ffff:0:7f00:1', 'translated, not mapped: another address');
  t.equal(canonicalAddress('::7f00:1'), canonicalAddress('::127.0.0.1'), 'compatible, not mapped');
  t.not(canonicalAddress('::127.0.0.1'), '127.0.0.1');
  t.equal(canonicalAddress('nothing'), 'nothing');
});

void t.test('in allow and not in deny, by a slow comparison of bits', async () => {
  const near = fc.tuple(fc.constantFrom(10, 11, 192), fc.constantFrom(0, 1, 128), fc.nat(3), fc.nat(255));
  const rule = fc.tuple(near, fc.nat(32));
  const bits = (octets: readonly number[]): string =>
    octets.map((octet) => octet.toString(2).padStart(8, '0')).join('');
  type Rule = readonly [readonly number[], number];
  const inside = (peer: readonly number[], rules: readonly Rule[]): boolean =>
    rules.some(([network, prefix]) => bits(peer).slice(0, prefix) === bits(network).slice(0, prefix));
  const written = (rules: readonly Rule[]): string[] =>
    rules.map(([network, prefix]) => `${network.join('.')}/${prefix}`);
  fc.assert(
    fc.property(
      fc.array(rule, { maxLength: 4 }),
      fc.array(rule, { maxLength: 3 }),
      near,
      fc.nat(),
      (allow, deny, peer, pick) => {
        const rules = new IpRules({ allow: written(allow), deny: written(deny) });
        const forms = spellings(peer);
        const expected = inside(peer, allow) && !inside(peer, deny);
        return rules.admits(forms[pick % forms.length]) === expected;
      },
    ),
    { numRuns: 2000 },
  );
});

void t.test('deny wins, an empty allow admits nobody', async (t) => {
  const closed = new IpRules({ allow: [], deny: [] });
  for (const peer of ['127.0.0.1', '::1', '::ffff:127.0.0.1', '10.0.0.1']) t.notOk(closed.admits(peer), peer);
  const rules = new IpRules({ allow: ['10.0.0.0/8', '::1'], deny: ['10.1.0.0/16', '10.2.3.4'] });
  for (const peer of ['10.0.0.1', '::ffff:a00:1', '::1', '10.2.3.5']) t.ok(rules.admits(peer), peer);
  for (const peer of ['10.1.2.3', '::ffff:10.1.2.3', '10.2.3.4', '::ffff:a02:304', '11.0.0.1', '::2'])
    t.notOk(rules.admits(peer), peer);
  const both = new IpRules({ allow: ['0.0.0.0/0', '::/0'], deny: ['0.0.0.0/0', '::/0'] });
  for (const peer of ['127.0.0.1', '::1']) t.notOk(both.admits(peer), peer);
});

void t.test('/0 is every address of its family, and of that alone', async (t) => {
  const four = new IpRules({ allow: ['0.0.0.0/0'], deny: [] });
  const six = new IpRules({ allow: ['::/0'], deny: [] });
  const notSix = new IpRules({ allow: ['0.0.0.0/0', '::/0'], deny: ['::/0'] });
  for (const peer of ['0.0.0.0', '1.2.3.4', '255.255.255.255', '::ffff:1.2.3.4']) {
    t.ok(four.admits(peer), peer);
    t.notOk(six.admits(peer), peer);
    t.ok(notSix.admits(peer), peer);
  }
  for (const peer of ['::', '::1', '2001:db8::1', 'fe80::1%eth0']) {
    t.notOk(four.admits(peer), peer);
    t.ok(six.admits(peer), peer);
    t.notOk(notSix.admits(peer), peer);
  }
});

void t.test('zones, mapped rules and any spelling of a network', async (t) => {
  const link = new IpRules({ allow: ['FE80:0::/10'], deny: ['fe80::bad%eth0'] });
  t.ok(link.admits('fe80::1%eth0'));
  t.notOk(link.admits('fe80::bad%eth1'));
  t.notOk(link.admits('2001:db8::1'));
  const zoned = new IpRules({ allow: ['fe80::%eth0/10'], deny: [] });
  t.ok(zoned.admits('fe80::1'));
  t.notOk(zoned.admits('2001:db8::1'), 'a zone does not widen a network');
  const mapped = new IpRules({ allow: ['::ffff:10.0.0.0/104', '::FFFF:C0A8:1'], deny: [] });
  t.ok(mapped.admits('10.200.9.9'));
  t.ok(mapped.admits('192.168.0.1'));
  t.notOk(mapped.admits('11.0.0.1'));
});

void t.test('who has no address has no way in', async (t) => {
  const open = new IpRules({ allow: ['0.0.0.0/0', '::/0'], deny: [] });
  for (const peer of [
    undefined,
    '',
    'localhost',
    '1.2.3',
    '1.2.3.4.5',
    '::ffff:1.2.3.256',
    '%',
    '/run/socket',
  ])
    t.notOk(open.admits(peer), String(peer));
});
