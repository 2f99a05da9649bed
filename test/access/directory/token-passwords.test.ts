import t from 'tap';
import { TokenPasswords } from '../../../src/access/directory/token-passwords.ts';
import { SourceUnavailable, type BearerSource } from '../../../src/access/sources.ts';

const ADA = { user: 'ada', groups: ['crew'], by: 'oidc' } as const;

function open(check: BearerSource['check']) {
  const asked: string[] = [];
  return {
    asked,
    passwords: new TokenPasswords({
      check: async (token) => {
        asked.push(token);
        return await check(token);
      },
    }),
  };
}

void t.test('a token for a password', async (t) => {
  const { passwords, asked } = open(async (token) => (token === 'a.b-_.c' ? ADA : undefined));
  t.strictSame(await passwords.check('oidc', 'a.b-_.c'), ADA);
  t.strictSame(await passwords.check('ada', 'a.b-_.c'), ADA, 'under their own name');
  for (const name of ['bob', 'Ada', '', 'root'])
    t.equal(await passwords.check(name, 'a.b-_.c'), undefined, name);
  t.equal(await passwords.check('oidc', 'a.b.d'), undefined);
  asked.length = 0;
  for (const password of ['', 'secret', 'a.b', 'a.b.c.d', 'a.b.c ', 'a.b.ç', '.b.c', 'a.b.'])
    t.equal(await passwords.check('oidc', password), undefined);
  t.strictSame(asked, [], 'what is no token is not asked about');
});

void t.test('a source that cannot say', async (t) => {
  const { passwords } = open(async () => {
    throw new SourceUnavailable('down');
  });
  await t.rejects(passwords.check('oidc', 'a.b.c'), SourceUnavailable);
  t.equal(await passwords.check('oidc', 'secret'), undefined);
});
