import t from 'tap';
import { ms } from '../../src/lib/brand.ts';
import { FakeClock } from './fake-clock.ts';

void t.test('sleepers wake at their own time and in order', async (t) => {
  const clock = new FakeClock(1000);
  const woken: string[] = [];
  const sleep = async (name: string, duration: number): Promise<void> => {
    await clock.sleep(ms(duration));
    woken.push(`${name}@${clock.monotonic()}`);
  };
  const all = [sleep('c', 30), sleep('a', 10), sleep('b', 10), sleep('later', 31)];
  await clock.advance(30);
  t.same(woken, ['a@10', 'b@10', 'c@30']);
  t.equal(clock.sleeping, 1);
  t.equal(clock.now(), 1030);
  await clock.advance(1);
  await Promise.all(all);
});

void t.test('a loop that sleeps again wakes again within one advance', async (t) => {
  const clock = new FakeClock();
  let rounds = 0;
  const stop = new AbortController();
  const loop = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(ms(10), stop.signal);
      rounds += 1;
    }
  };
  const running = loop();
  await clock.advance(55);
  t.equal(rounds, 5);
  stop.abort(new Error('enough'));
  await t.rejects(running, { message: 'enough' });
  t.equal(clock.sleeping, 0, 'who is aborted sleeps no more');
});

void t.test('a jump of the wall clock wakes nobody', async (t) => {
  const clock = new FakeClock();
  void clock.sleep(ms(10));
  clock.jumpWall(0);
  t.equal(clock.now(), 0);
  t.equal(clock.monotonic(), 0);
  t.equal(clock.sleeping, 1);
});
