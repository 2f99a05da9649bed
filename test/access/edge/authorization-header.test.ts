import * as fc from 'fast-check';
import t from 'tap';
import { basicAuthorization, parseAuthorization } from '../../../src/access/edge/authorization-header.ts';

const printable = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((text) => !/\p{C}/u.test(text));
const base64 = (text: string | Uint8Array): string => Buffer.from(text).toString('base64');

void t.test('a name and a password come out as they went in', async (t) => {
  const user = printable.filter((text) => text !== '' && !text.includes(':'));
  fc.assert(
    fc.property(user, printable, (user, password) => {
      const shown = parseAuthorization(basicAuthorization(user, password));
      return shown?.kind === 'password' && shown.user === user && shown.password === password;
    }),
  );
  t.same(parseAuthorization(`bAsIc   ${base64('ada:a:b:')}`), {
    kind: 'password',
    user: 'ada',
    password: 'a:b:',
  });
  t.same(parseAuthorization('Basic Og=='), { kind: 'nothing' });
  t.same(parseAuthorization('bearer a.b-c_d~+/=='), { kind: 'token', token: 'a.b-c_d~+/==' });
});

void t.test('what is not well formed is no credentials', async (t) => {
  const bad = [
    '',
    'Basic',
    'Basic ',
    'Basic  ',
    'Bearer',
    'Bearer ',
    'Bearer a b',
    'Bearer a,b',
    'Bearer "a"',
    'Bearer =a',
    'Digest username="ada"',
    'Negotiate YWRh',
    `Basic:${base64('ada:x')}`,
    `Basic\t${base64('ada:x')}`,
    ` Basic ${base64('ada:x')}`,
    `Basic ${base64('ada:x')} `,
    `Basic ${base64('ada:x')}, Bearer a`,
    `Basic ${base64('no colon')}`,
    `Basic ${base64(':password without a name')}`,
    `Basic ${base64('ada:\r\nx')}`,
    `Basic ${base64('ada:x\0')}`,
    `Basic ${base64('a\u001bda:x')}`,
    `Basic ${base64(`${'a'.repeat(256)}:x`)}`,
    `Basic ${base64(new Uint8Array([0xff, 0xfe, 0x3a, 0x80]))}`,
    'Basic YWRh-_OjE=',
    'Basic YWRhOjE===',
    'Basic Y=WRhOjE',
  ];
  for (const header of bad) t.equal(parseAuthorization(header), undefined, JSON.stringify(header));
});

void t.test('no header takes long, or makes it throw', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('', 'Basic ', 'Bearer '), (text, scheme) => {
      parseAuthorization(scheme + text);
    }),
  );
  for (const hostile of [`Basic ${'='.repeat(200_000)}`, `Basic${' '.repeat(200_000)}`, 'A'.repeat(200_000)])
    parseAuthorization(hostile);
});
