import t from 'tap';
import { eventually, NeverError } from './eventually.ts';

void t.test('returns what the condition gives once it is truthy', async (t) => {
  let asked = 0;
  t.equal(await eventually(() => (++asked === 3 ? 'there' : undefined)), 'there');
  t.equal(asked, 3);
});

void t.test('an exception is "not yet", and the cause at the deadline', async (t) => {
  const fails = eventually(
    () => {
      throw new Error('still closed');
    },
    { timeoutMs: 5, what: () => 'the door opens' },
  );
  await t.rejects(fails, { message: 'not within 5 ms: the door opens', cause: { message: 'still closed' } });
});

void t.test('a condition that cannot come true any more ends the waiting', async (t) => {
  const never = eventually(() => Promise.reject(new NeverError('it is gone')), { timeoutMs: 60_000 });
  await t.rejects(never, { message: 'it is gone' });
});
