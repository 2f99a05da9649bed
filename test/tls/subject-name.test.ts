import { assert, domain, ipV4, ipV6, oneof, property, string } from 'fast-check';
import { isIP, SocketAddress } from 'node:net';
import t from 'tap';
import { addressFromBytes, addressToBytes, parseSubjectName } from '../../src/tls/subject-name.ts';

void t.test('host names and addresses are told apart, and made canonical', (t) => {
  const cases: [string, string, string][] = [
    ['Edge.Example', 'dns', 'edge.example'],
    ['edge.example.', 'dns', 'edge.example'],
    ['*.branch.example', 'dns', '*.branch.example'],
    ['bücher.example', 'dns', 'xn--bcher-kva.example'],
    ['host_1', 'dns', 'host_1'],
    ['10.0.0.7', 'ip', '10.0.0.7'],
    ['FD00:0:0::7', 'ip', 'fd00::7'],
    ['::ffff:10.0.0.7', 'ip', '10.0.0.7'],
  ];
  for (const [text, kind, value] of cases) t.same(parseSubjectName(text), { kind, value }, text);
  t.end();
});

void t.test('what can stand in no certificate is refused', (t) => {
  const refused = [
    '',
    '.',
    'https://edge.example',
    'edge.example:5443',
    '[::1]',
    'fe80::1%eth0',
    'a b',
    'a..b',
    '-edge',
    'edge-',
    '*',
    'a.*.example',
    '10.0.0',
    '10.0.0.256',
    `${'a'.repeat(64)}.example`,
    `${'a.'.repeat(130)}example`,
    'a\0b',
    '0#a',
    'edge%41',
    'edge?',
    'edge/x',
    '0x7f',
    '\uff11.\uff12.\uff13.\uff14',
    `${'\u00fc'.repeat(60)}.${'b.'.repeat(90)}example`,
  ];
  for (const text of refused) t.equal(parseSubjectName(text), undefined, JSON.stringify(text));
  t.end();
});

void t.test('every address survives the way through its octets', (t) => {
  assert(
    property(oneof(ipV4(), ipV6()), (address) => {
      const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
      const canonical = new SocketAddress({ address, family }).address;
      return addressFromBytes(addressToBytes(address)) === canonical.replace(/^::ffff:(?=\d+\.)/, '');
    }),
  );
  t.equal(addressFromBytes(Buffer.alloc(5)), undefined);
  t.end();
});

void t.test('parsing is total, and parses its own answer to the same', (t) => {
  assert(
    property(oneof(string(), domain(), ipV6()), (text) => {
      const name = parseSubjectName(text);
      if (name !== undefined) t.same(parseSubjectName(name.value), name, text);
    }),
  );
  t.end();
});
