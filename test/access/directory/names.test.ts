import * as fc from 'fast-check';
import t from 'tap';
import { commonNameOf, parseGroups, parseName } from '../../../src/access/directory/names.ts';

void t.test('the common name of a group by its distinguished name', async (t) => {
  const names: [dn: string, name: string | undefined][] = [
    ['cn=crew,ou=groups,dc=corp', 'crew'],
    ['CN = Crew , OU=x', 'Crew'],
    [String.raw`cn=Crew\, too,ou=groups`, 'Crew, too'],
    [String.raw`cn=a\2Bb\5c,ou=groups`, 'a+b\\'],
    [String.raw`cn=Lu\C4\8Di\C4\87,ou=groups`, 'Lučić'],
    [String.raw`cn=\ both ends\ ,ou=x`, ' both ends '],
    ['cn=a+ou=b,dc=corp', 'a'],
    ['cn=😀,dc=corp', '😀'],
    ['ou=crew,dc=corp', undefined],
    ['cn=#04024869,dc=corp', undefined],
    ['cn', undefined],
    ['', undefined],
  ];
  for (const [dn, name] of names) t.equal(commonNameOf(dn), name, dn);
});

void t.test('any name comes back from its escaped form', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (name) => {
      const escaped = name.replace(/[\\,+;"<>=#]/g, '\\$&').replace(/^ | $/g, '\\ ');
      return commonNameOf(`cn=${escaped},dc=corp`) === name;
    }),
  );
});

void t.test('names and groups that roles could have', async (t) => {
  t.equal(parseName('ada'), 'ada');
  for (const no of ['', 'a\nb', 'a\u0085b', 'x'.repeat(256), 7, undefined, ['ada']])
    t.equal(parseName(no), undefined);
  t.strictSame(parseGroups(['a', 'a', '', 7, 'b\0', 'b']), ['a', 'b']);
  t.equal(parseGroups(Array.from({ length: 5000 }, (_, at) => `g${at}`)).length, 1000);
});
