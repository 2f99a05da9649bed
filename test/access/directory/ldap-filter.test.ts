import * as fc from 'fast-check';
import { AndFilter, EqualityFilter, FilterParser } from 'ldapts';
import t from 'tap';
import { escapeFilterValue, fillFilter, userAttributeOf } from '../../../src/access/directory/ldap-filter.ts';

const ANY_TEXT = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom('*', '(', ')', '\\', '\0', '2', 'a', '=', '&', '|', '!', 'é', '😀') }),
);

void t.test('whatever the name is, it is compared as a whole and nothing else', async () => {
  fc.assert(
    fc.property(ANY_TEXT, (name) => {
      const filter = FilterParser.parseString(
        fillFilter('(&(objectClass=person)(uid={user}))', { user: name }),
      );
      if (!(filter instanceof AndFilter)) throw new Error('no conjunction');
      const [, second, ...more] = filter.filters;
      if (!(second instanceof EqualityFilter)) throw new Error('no equality');
      return more.length === 0 && second.attribute === 'uid' && second.value === name;
    }),
    { numRuns: 2000 },
  );
});

void t.test('RFC 4515: the examples of section 4', async (t) => {
  t.equal(
    escapeFilterValue('Parens R Us (for all your parenthetical needs)'),
    String.raw`Parens R Us \28for all your parenthetical needs\29`,
  );
  t.equal(escapeFilterValue('*'), String.raw`\2a`);
  t.equal(escapeFilterValue('C:\\MyFile'), String.raw`C:\5cMyFile`);
  t.equal(escapeFilterValue('\0\0\0\u0004'), '\\00\\00\\00\u0004');
  t.equal(escapeFilterValue('Lučić'), 'Lučić');
});

void t.test('what is filled in is not filled in again', async (t) => {
  t.equal(fillFilter('(|(a={user})(b={dn}))', { user: '{dn}', dn: '{user}' }), '(|(a={dn})(b={user}))');
  t.equal(fillFilter('(a={other})', { user: 'ada' }), '(a={other})');
  t.equal(fillFilter('(a={user})', { user: "$&$'$1" }), "(a=$&$'$1)");
});

void t.test('the attribute that names the user', async (t) => {
  t.equal(userAttributeOf('(uid={user})'), 'uid');
  t.equal(userAttributeOf('(&(objectClass=user)(|(sAMAccountName={user})(mail={user})))'), 'sAMAccountName');
  t.equal(userAttributeOf('(mail={user}@corp)'), 'mail');
  t.equal(userAttributeOf('(uid=user)'), undefined);
});
