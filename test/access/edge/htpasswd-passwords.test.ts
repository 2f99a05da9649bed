import bcrypt from 'bcrypt';
import t from 'tap';
import { HtpasswdPasswords } from '../../../src/access/edge/htpasswd-passwords.ts';

/** As `htpasswd -B` writes it. */
async function entry(user: string, password: string, cost = 4) {
  return { user, hash: (await bcrypt.hash(password, cost)).replace('$2b$', '$2y$') };
}

void t.test('the users of a file, by their passwords', async (t) => {
  const passwords = new HtpasswdPasswords([await entry('ada', 'right'), await entry('bob', 'höher:x')]);
  t.same(await passwords.check('ada', 'right'), { user: 'ada', groups: [], by: 'htpasswd' });
  t.same(await passwords.check('bob', 'höher:x'), { user: 'bob', groups: [], by: 'htpasswd' });
  for (const [user, password] of [
    ['ada', 'wrong'],
    ['ada', ''],
    ['ada', 'höher:x'],
    ['Ada', 'right'],
    ['eve', 'right'],
    ['__proto__', 'right'],
    ['toString', ''],
  ] as const)
    t.equal(await passwords.check(user, password), undefined, `${user}, ${password}`);
});

void t.test('an unknown name costs one check, of the same kind as a known one', async (t) => {
  const compared: string[] = [];
  const entries = [await entry('ada', 'right', 5), await entry('bob', 'right', 5)];
  const passwords = new HtpasswdPasswords(entries, async (password, hash) => {
    compared.push(hash);
    return await bcrypt.compare(password, hash);
  });
  await passwords.check('ada', 'wrong');
  await passwords.check('eve', 'wrong');
  await passwords.check('eve', 'wrong again');
  t.equal(compared.length, 3);
  const costs = compared.map((hash) => hash.slice(0, 7));
  t.same(costs, ['$2b$05$', '$2b$05$', '$2b$05$']);
  t.equal(compared[1], compared[2], 'always the same one for a name');
  t.not(compared[1], entries[0]?.hash.replace('$2y$', '$2b$'));
  t.equal(compared[1]?.length, 60);
  // A hash that the library does not take comes back at once, and the time would tell.
  t.equal(bcrypt.getRounds(compared[1] ?? ''), 5);
  t.match(compared[1], /^\$2b\$05\$[./A-Za-z0-9]{21}\.[./A-Za-z0-9]{30}\.$/);
});

void t.test('one check at a time', async (t) => {
  let running = 0;
  let most = 0;
  const passwords = new HtpasswdPasswords([await entry('ada', 'right')], async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    return false;
  });
  await Promise.all(Array.from({ length: 20 }, (_, at) => passwords.check(`user ${at}`, 'x')));
  t.equal(most, 1);
});

void t.test('a changed password is another version, and who is gone has none', async (t) => {
  const before = new HtpasswdPasswords([await entry('ada', 'right')]);
  const after = new HtpasswdPasswords([await entry('ada', 'changed')]);
  t.not(before.versionOf('ada'), after.versionOf('ada'));
  t.equal(before.versionOf('bob'), undefined);
});
