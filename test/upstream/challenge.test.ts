import * as fc from 'fast-check';
import t from 'tap';
import { parseChallenges } from '../../src/upstream/challenge.ts';

const parsed = (header: string | string[] | undefined): unknown[] =>
  parseChallenges(header).map(({ scheme, token68, parameters }) => {
    const values = Object.fromEntries(parameters);
    return token68 === undefined ? [scheme, values] : [scheme, token68];
  });

await t.test('challenges of registries', (t) => {
  t.same(
    parsed('Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull,push"'),
    [
      [
        'bearer',
        { realm: 'https://auth.docker.io/token', service: 'registry.docker.io', scope: 'a:b:pull,push' },
      ],
    ],
  );
  t.same(parsed('Basic realm="Registry"'), [['basic', { realm: 'Registry' }]]);
  t.same(parsed('BASIC Realm = plain , charset="UTF-8"'), [['basic', { realm: 'plain', charset: 'UTF-8' }]]);
  t.same(parsed(undefined), []);
  t.same(parsed(''), []);
  t.end();
});

await t.test('several challenges, in one header or in many', (t) => {
  const both = [
    ['bearer', { realm: 'r', service: 's' }],
    ['basic', { realm: 'b' }],
  ];
  t.same(parsed('Bearer realm="r", service="s", Basic realm="b"'), both);
  t.same(parsed(['Bearer realm="r",service="s"', 'Basic realm="b"']), both);
  t.same(parsed('Negotiate, Basic realm="b"'), [
    ['negotiate', {}],
    ['basic', { realm: 'b' }],
  ]);
  t.same(parsed('NTLM TlRMTVNTUA==, Basic realm="b"'), [
    ['ntlm', 'TlRMTVNTUA=='],
    ['basic', { realm: 'b' }],
  ]);
  t.same(parsed(', ,Negotiate YWJj ,'), [['negotiate', 'YWJj']]);
  t.end();
});

await t.test('quoting', (t) => {
  t.same(parsed('Bearer realm="a\\"b\\\\c, Basic realm=x"'), [
    ['bearer', { realm: 'a"b\\c, Basic realm=x' }],
  ]);
  t.same(parsed('Bearer realm="first", realm="second"'), [['bearer', { realm: 'first' }]]);
  t.same(parsed('Bearer realm="open'), [['bearer', {}]], 'an unended string is no value');
  t.same(parsed('Bearer realm="a" junk, service="s"'), [['bearer', { service: 's' }]]);
  t.same(parsed('realm="nobody’s"'), []);
  t.end();
});

await t.test('never throws, and reads each character a bounded number of times', (t) => {
  const piece = fc.constantFrom(
    'Bearer',
    'Basic ',
    'a',
    '=',
    '==',
    '"',
    '\\',
    ',',
    ' ',
    '\t',
    'realm="x"',
    '/',
    '\u0000',
    'é',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 300 }), (pieces) => {
      const text = pieces.join('');
      const { list, reads } = countedReads(text);
      return (
        parseChallenges(list).length === parseChallenges(text).length && reads() <= 8 * (text.length + 1)
      );
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 9000 }), (text) =>
      Array.isArray(parseChallenges(text)),
    ),
  );
  t.end();
});

await t.test('what is over 8 KiB is not read', (t) => {
  const long = `Bearer realm="${'x'.repeat(8 * 1024)}"`;
  t.same(parseChallenges(long), []);
  t.same(parseChallenges([long.slice(0, 6000), long.slice(0, 6000)]), []);
  t.equal(parseChallenges(`Bearer realm="${'x'.repeat(8000)}"`).length, 1);
  t.end();
});

await t.test('the round trip of any values', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.stringMatching(/^[a-z]{1,9}$/), fc.string()), { maxLength: 9 }),
      (pairs) => {
        const unique = new Map(pairs.toReversed());
        const quoted = [...unique].map(([name, value]) => `${name}="${value.replaceAll(/["\\]/g, '\\$&')}"`);
        const [challenge] = parseChallenges(`Bearer ${quoted.join(', ')}`);
        return [...unique].every(([name, value]) => challenge?.parameters.get(name) === value);
      },
    ),
  );
  t.end();
});

/** A header list whose joined text counts how often a character of it is read. */
function countedReads(text: string): { list: readonly string[]; reads: () => number } {
  let reads = 0;
  const joined = {
    length: text.length,
    slice: (from: number, to: number) => text.slice(from, to),
    charAt: (at: number) => {
      reads += 1;
      return text.charAt(at);
    },
  };
  return { list: { join: () => joined } as unknown as readonly string[], reads: () => reads };
}
