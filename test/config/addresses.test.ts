import * as fc from 'fast-check';
import { BlockList, isIP, isIPv6 } from 'node:net';
import t from 'tap';
import {
  collide,
  parseCertificateName,
  parseHost,
  parseListenAddress,
  parseNetwork,
  parseUpstreamName,
} from '../../src/config/addresses.ts';

const port = fc.integer({ min: 0, max: 65_535 });
const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());

void t.test('HOST:PORT is taken apart, IPv6 by its brackets', async (t) => {
  fc.assert(
    fc.property(host, port, (host, port) => {
      const parsed = parseListenAddress(isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`, 'unused');
      return parsed !== undefined && parsed.port === port && sameHost(parsed.host, host);
    }),
  );
  t.strictSame(parseListenAddress('[::1]:5000', ''), { host: '::1', port: 5000 });
  t.strictSame(parseListenAddress('[0:0:0:0:0:0:0:1]:5000', ''), { host: '::1', port: 5000 });
  t.strictSame(parseListenAddress('LocalHost:0', ''), { host: 'localhost', port: 0 });
  t.strictSame(parseListenAddress(':5000', '127.0.0.1'), { host: '0.0.0.0', port: 5000 });
  t.strictSame(parseListenAddress('5000', '127.0.0.1'), { host: '127.0.0.1', port: 5000 });
  const wrong = [
    '',
    ':',
    'host',
    'host:',
    '::1:5000',
    '[::1]',
    '[127.0.0.1]:1',
    'a b:1',
    'a..b:1',
    '-a:1',
    '*:1',
  ];
  for (const text of [
    ...wrong,
    '10.0.0.256:1',
    '1.2.3:4',
    'host:65536',
    ':65536',
    '65536',
    'host:-1',
    'h:1\n',
  ])
    t.equal(parseListenAddress(text, '127.0.0.1'), undefined, text);
});

void t.test('whatever passes for an address can be bound and compared', async () => {
  const near = fc.string({ unit: fc.constantFrom(...Array.from('0159abAF:.[]-*_%/ ')), maxLength: 14 });
  fc.assert(
    fc.property(near, (text) => {
      const parsed = parseListenAddress(text, '127.0.0.1');
      if (parsed === undefined) return true;
      const { host, port } = parsed;
      return port >= 0 && port <= 65_535 && (isIP(host) > 0 || /^[a-z0-9_.-]+$/.test(host));
    }),
    { numRuns: 5000 },
  );
});

void t.test('hosts are compared in lower case, upstream names must be so', async (t) => {
  t.equal(parseHost('Registry.Corp:5000'), 'registry.corp:5000');
  t.equal(parseHost('[::1]:5000'), '[::1]:5000');
  t.equal(parseHost('http://registry.corp'), undefined);
  for (const name of ['docker.io', 'ghcr.io', 'registry.corp:5000', 'central', '127.0.0.1:5000'])
    t.equal(parseUpstreamName(name), name);
  for (const name of [
    '',
    'Docker.io',
    'a/b',
    '[::1]:5',
    'a b',
    '..',
    'a:',
    'a:99999',
    `${'a'.repeat(64)}.io`,
  ])
    t.equal(parseUpstreamName(name), undefined, name);
});

void t.test('certificate names are DNS names, wildcards and addresses', async (t) => {
  t.equal(parseCertificateName('Edge.Corp'), 'edge.corp');
  t.equal(parseCertificateName('*.corp'), '*.corp');
  t.equal(parseCertificateName('10.0.0.1'), '10.0.0.1');
  t.equal(parseCertificateName('0::1'), '::1');
  for (const name of ['', '*', '*.10.0.0.1', 'a.*.b', 'edge:5443', '10.0.0.256'])
    t.equal(parseCertificateName(name), undefined, name);
});

void t.test('every network that passes is one that a block list takes', async (t) => {
  const network = fc
    .tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.option(fc.nat(140)), fc.constantFrom('', ' ', '/', 'x'))
    .map(([address, prefix, end]) => `${address}${prefix === null ? '' : `/${prefix}`}${end}`);
  fc.assert(
    fc.property(network, (text) => {
      const [address = '', prefix, ...rest] = text.split('/');
      const family = isIP(address);
      const valid =
        family > 0 &&
        rest.length === 0 &&
        (prefix === undefined || (/^\d+$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128)));
      const parsed = parseNetwork(text);
      if (parsed === undefined) return !valid || /^(0*:)*:?ffff:/i.test(address);
      new BlockList().addSubnet(address, Number(prefix ?? 0), family === 4 ? 'ipv4' : 'ipv6');
      return valid;
    }),
    { numRuns: 2000 },
  );
  t.equal(parseNetwork('FC00::/7'), 'fc00::/7');
  const wrong = ['10.0.0.0/33', '::/129', '10.0.0.0/08', '10.0.0.0/', '10.0.0', 'localhost', 'fe80::1%lo'];
  for (const text of [...wrong, '::ffff:10.0.0.1', '::FFFF:a00:1/128', '10.0.0.0/8/8', '/8'])
    t.equal(parseNetwork(text), undefined, text);
});

void t.test('addresses collide when the system could not bind both', async (t) => {
  const at = (host: string, port = 5000) => ({ host, port });
  t.ok(collide(at('127.0.0.1'), at('127.0.0.1')));
  t.ok(collide(at('0.0.0.0'), at('127.0.0.1')));
  t.ok(collide(at('127.0.0.1'), at('::')));
  t.notOk(collide(at('0.0.0.0'), at('::1')));
  t.notOk(collide(at('127.0.0.1'), at('127.0.0.2')));
  t.notOk(collide(at('127.0.0.1'), at('127.0.0.1', 5001)));
  t.notOk(collide(at('127.0.0.1', 0), at('127.0.0.1', 0)));
});

function sameHost(one: string, other: string): boolean {
  return isIPv6(other) ? new URL(`http://[${other}]`).hostname === `[${one}]` : one === other.toLowerCase();
}
