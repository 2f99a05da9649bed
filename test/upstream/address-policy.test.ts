import * as fc from 'fast-check';
import t from 'tap';
import {
  checkedLookup,
  classifyAddress,
  HomeAddress,
  mayReach,
  type AddressClass,
} from '../../src/upstream/address-policy.ts';

const CLASSES: Record<AddressClass, readonly string[]> = {
  public: [
    '1.1.1.1',
    '172.32.0.1',
    '100.63.255.255',
    '2606:4700::1111',
    '64:ff9b::101:101',
    '2002:101:101::',
  ],
  private: [
    '10.1.2.3',
    '172.16.0.1',
    '192.168.0.1',
    '100.64.0.1',
    'fd12::1',
    '::ffff:10.0.0.1',
    '64:ff9b::a00:1',
  ],
  loopback: [
    '127.0.0.1',
    '127.255.0.1',
    '::1',
    '::ffff:7f00:1',
    '::ffff:127.0.0.1',
    '::7f00:1',
    '2002:7f00:1::',
  ],
  local: [
    '169.254.169.254',
    'fe80::1',
    'fe80::1%eth0',
    'fd00:ec2::254',
    '::ffff:a9fe:a9fe',
    '100.100.100.200',
  ],
  forbidden: [
    '0.0.0.0',
    '::',
    '224.0.0.1',
    '255.255.255.255',
    '2001:db8::1',
    'ff02::1',
    '4000::1',
    'localhost',
    '',
  ],
};

await t.test('each address has its class, in whatever form it is written', (t) => {
  for (const [kind, addresses] of Object.entries(CLASSES)) {
    for (const address of addresses) t.equal(classifyAddress(address), kind, address || 'empty');
  }
  t.equal(classifyAddress('64:ff9b:1::7f00:1'), 'loopback');
  t.equal(classifyAddress('0:0:0:0:0:ffff:127.0.0.1'), 'loopback');
  t.end();
});

await t.test('an IPv4 address keeps its class inside IPv6', (t) => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
      const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
      const kind = classifyAddress(address);
      return [`::ffff:${address}`, `::ffff:${hex}`, `64:ff9b::${hex}`, `2002:${hex}::`].every(
        (form) => classifyAddress(form) === kind,
      );
    }),
  );
  fc.assert(
    fc.property(fc.oneof(fc.ipV6(), fc.string()), (text) => typeof classifyAddress(text) === 'string'),
  );
  t.end();
});

await t.test('an upstream may name public addresses, and such as its own', (t) => {
  t.ok(mayReach('public', 'public'));
  for (const kind of ['private', 'loopback', 'local', 'forbidden'] as const)
    t.notOk(mayReach(kind, 'public'));
  t.ok(mayReach('private', 'private'));
  t.notOk(mayReach('loopback', 'private'), 'this machine is not in the site of the upstream');
  t.notOk(mayReach('local', 'private'));
  t.ok(mayReach('private', 'loopback'));
  t.notOk(mayReach('local', 'loopback'), 'metadata services are nobody’s storage');
  t.notOk(mayReach('forbidden', 'forbidden'));
  t.end();
});

await t.test('one bad address refuses the whole answer of DNS', (t) => {
  const answer = (addresses: string[]): Promise<unknown> =>
    new Promise((resolve) => {
      const lookup = checkedLookup(
        (_, __, callback) =>
          callback(
            null,
            addresses.map((address) => ({ address, family: 4 })),
          ),
        (all) => (all.includes('127.0.0.1') ? new Error('refused') : undefined),
      );
      lookup('name.test', { all: true }, (error, found) => resolve(error ?? found));
    });
  t.plan(2);
  void answer(['1.1.1.1']).then((found) => t.match(found, [{ address: '1.1.1.1' }]));
  void answer(['1.1.1.1', '127.0.0.1']).then((found) => t.match(found, { message: 'refused' }));
});

await t.test('a name may move into the VPN, not to this machine', (t) => {
  const home = new HomeAddress('registry.test', classifyAddress);
  t.equal(home.class, 'public');
  t.equal(home.refusal(['1.1.1.1']), undefined);
  t.equal(home.refusal(['10.0.0.1']), undefined);
  t.equal(home.class, 'private');
  t.match(home.refusal(['127.0.0.1']), { message: /loopback/ });
  t.match(home.refusal(['169.254.169.254']), { message: /local/ });
  t.match(home.refusal(['0.0.0.0']), { message: /forbidden/ });
  t.equal(home.class, 'private');
  const local = new HomeAddress('localhost', classifyAddress);
  t.equal(local.refusal(['::1', '127.0.0.1']), undefined);
  t.equal(local.class, 'loopback');
  t.equal(new HomeAddress('[::1]', classifyAddress).class, 'loopback');
  t.end();
});
