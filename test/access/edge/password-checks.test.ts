import t from 'tap';
import { PasswordChecks } from '../../../src/access/edge/password-checks.ts';
import { TooManyRequests } from '../../../src/access/refusals.ts';
import { SourceUnavailable, type PasswordSource } from '../../../src/access/sources.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const ADA = { user: 'ada', groups: [], by: 'htpasswd' } as const;

/** Knows ada, counts how often it is asked. */
class CountingSource implements PasswordSource {
  asked = 0;
  silent = false;

  async check(user: string, password: string) {
    this.asked += 1;
    if (this.silent) throw new SourceUnavailable('the directory does not answer');
    return user === 'ada' && password === 'right' ? ADA : undefined;
  }
}

function setUp() {
  const clock = new FakeClock();
  const source = new CountingSource();
  return { clock, source, checks: new PasswordChecks([source], clock) };
}

const HERE = '192.0.2.1';
const ELSEWHERE = '192.0.2.2';

void t.test('a right password is remembered for a minute, and no promise then', async (t) => {
  const { clock, source, checks } = setUp();
  t.same(await checks.check(HERE, 'ada', 'right'), ADA);
  t.same(checks.check(HERE, 'ada', 'right'), ADA);
  t.same(checks.check(ELSEWHERE, 'ada', 'right'), ADA);
  t.equal(source.asked, 1);
  t.equal(await checks.check(HERE, 'ada', 'wrong'), undefined, 'the name alone is not enough');
  await clock.advance(60_000);
  t.same(await checks.check(HERE, 'ada', 'right'), ADA);
  t.equal(source.asked, 3);
});

void t.test('the same question at the same time is one check', async (t) => {
  const { source, checks } = setUp();
  await Promise.all(Array.from({ length: 6 }, async () => await checks.check(HERE, 'ada', 'right')));
  t.equal(source.asked, 1);
});

void t.test('after ten wrong passwords of one address for one name nothing more is looked at', async (t) => {
  const { clock, source, checks } = setUp();
  await checks.check(HERE, 'ada', 'right');
  for (let at = 0; at < 10; at += 1) t.equal(await checks.check(HERE, 'ada', `wrong ${at}`), undefined);
  const asked = source.asked;
  t.throws(() => checks.check(HERE, 'ada', 'wrong again'), {
    code: 'TOOMANYREQUESTS',
    retryAfterSeconds: 60,
  });
  t.equal(source.asked, asked);
  t.same(checks.check(HERE, 'ada', 'right'), ADA, 'a right one that is remembered passes');
  t.same(await checks.check(HERE, 'bob', 'x'), undefined, 'another name of that address is looked at');
  t.same(await checks.check(ELSEWHERE, 'ada', 'x'), undefined, 'and the name from elsewhere');
  await clock.advance(60_000);
  t.same(await checks.check(HERE, 'ada', 'right'), ADA, 'a minute later all is forgotten');
});

void t.test('a hundred of one address for many names; a /64 is one address', async (t) => {
  const { source, checks } = setUp();
  for (let at = 0; at < 100; at += 1) await checks.check(`2001:db8::${at.toString(16)}`, `user ${at}`, 'x');
  t.throws(() => checks.check('2001:db8::ffff', 'ada', 'right'), { code: 'TOOMANYREQUESTS' });
  t.same(await checks.check('2001:db8:0:1::1', 'ada', 'right'), ADA);
  t.equal(source.asked, 101);
});

void t.test('a flood of one address leaves the others their turns, and is bounded', async (t) => {
  const { source, checks } = setUp();
  const flood = Array.from(
    { length: 1000 },
    async (_, at) => await checks.check(HERE, `user ${at}`, 'x'),
  ).map((checked) =>
    checked.then(
      () => 'checked',
      (error: unknown) => (error instanceof TooManyRequests ? 'refused' : 'broken'),
    ),
  );
  t.same(await checks.check(ELSEWHERE, 'ada', 'right'), ADA);
  t.ok(source.asked < 20, 'ada did not wait for the flood');
  const outcomes = await Promise.all(flood);
  t.equal(outcomes.filter((outcome) => outcome === 'checked').length, 68, 'four at once and 64 waiting');
  t.equal(outcomes.filter((outcome) => outcome === 'refused').length, 932);
});

void t.test(
  'a source that cannot say: those that others know get in, and guesses that the others denied are counted, by name alone',
  async (t) => {
    const clock = new FakeClock();
    const [silent, knowing] = [new CountingSource(), new CountingSource()];
    silent.silent = true;
    const checks = new PasswordChecks([silent, knowing], clock);
    t.same(await checks.check(HERE, 'ada', 'right'), ADA);
    for (let at = 0; at < 10; at += 1)
      await t.rejects(async () => await checks.check(HERE, 'bob', `guess ${at}`), SourceUnavailable);
    const asked = knowing.asked;
    t.throws(() => checks.check(HERE, 'bob', 'guess 10'), { code: 'TOOMANYREQUESTS' });
    t.equal(knowing.asked, asked, 'nothing more is looked at');
    for (let at = 0; at < 100; at += 1)
      await t.rejects(async () => await checks.check(HERE, `user ${at}`, 'x'), SourceUnavailable);
    silent.silent = false;
    t.equal(await checks.check(HERE, 'eve', 'x'), undefined, 'the address is not locked out');
    await clock.advance(60_000);
    t.equal(await checks.check(HERE, 'bob', 'x'), undefined);
  },
);
