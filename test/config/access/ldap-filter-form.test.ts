import * as fc from 'fast-check';
import { FilterParser } from 'ldapts';
import t from 'tap';
import { isLdapFilter } from '../../../src/config/access/ldap-filter-form.ts';

void t.test('filters', async (t) => {
  for (const filter of [
    '(uid={user})',
    '(&(objectClass=user)(sAMAccountName={user}))',
    '(|(uid={user})(mail={user}@corp))',
    '(&(objectClass=person)(!(loginShell=*nologin)))',
    '(memberOf:1.2.840.113556.1.4.1941:={dn})',
    '(cn:dn:=a)',
    String.raw`(cn=a\2ab)`,
    '(age>=18)',
    '(cn=*)',
    '(cn=)',
    '(cn=Lučić)',
  ])
    t.ok(isLdapFilter(filter), filter);
  for (const filter of [
    '',
    'uid={user}',
    '(uid={user}',
    '(uid={user}))',
    '(&)',
    '(&(a=b)',
    '(&(a=b',
    '(!(a=b)(c=d))',
    '(a=b)(c=d)',
    '(a)',
    '(=b)',
    '({user}=b)',
    '(a=(b))',
    String.raw`(a=\2)`,
    '(a=b\n)',
    '(',
    `(a=${'b'.repeat(1024)})`,
  ])
    t.notOk(isLdapFilter(filter), filter);
});

void t.test('what is taken for a filter can be sent', async () => {
  const piece = fc.constantFrom(
    '(',
    ')',
    '&',
    '|',
    '!',
    'a',
    'uid',
    '=',
    ':',
    '>',
    '*',
    '{user}',
    '\\',
    '\\2a',
    '~',
    ' ',
    '-',
    '.',
  );
  const text = fc.oneof(
    fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join('')),
    fc.letrec<{ filter: string }>((tie) => ({
      filter: fc.oneof(
        { maxDepth: 4 },
        fc
          .tuple(
            fc.constantFrom('a', 'uid'),
            fc.constantFrom('=', '>=', '~=', ':=', ':dn:='),
            fc.constantFrom('*', '', 'x*y', '{user}'),
          )
          .map((parts) => `(${parts.join('')})`),
        fc.array(tie('filter'), { maxLength: 3 }).map((parts) => `(&${parts.join('')})`),
        tie('filter').map((part) => `(!${part})`),
      ),
    })).filter,
  );
  fc.assert(
    fc.property(text, (filter) => {
      if (isLdapFilter(filter)) FilterParser.parseString(filter);
    }),
    { numRuns: 5000 },
  );
});
