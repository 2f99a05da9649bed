import t from 'tap';
import { seconds } from '../../src/lib/brand.ts';
import { Seldom } from '../../src/observe/seldom.ts';
import { FakeClock } from '../support/fake-clock.ts';

void t.test('each kind once per interval, with the number of those left out', async (t) => {
  const clock = new FakeClock();
  const seldom = new Seldom(clock, seconds(60));
  const told: [string, number][] = [];
  const run = (kind: string): void => seldom.run(kind, (leftOut) => told.push([kind, leftOut]));
  run('disk');
  run('disk');
  run('redis');
  run('disk');
  t.strictSame(told, [
    ['disk', 0],
    ['redis', 0],
  ]);
  await clock.advance(59_999);
  run('disk');
  t.equal(told.length, 2);
  await clock.advance(1);
  run('disk');
  run('redis');
  run('disk');
  t.strictSame(told.slice(2), [
    ['disk', 3],
    ['redis', 0],
  ]);
  clock.jumpWall(0);
  await clock.advance(60_000);
  run('disk');
  t.strictSame(told.at(-1), ['disk', 1], 'the wall clock has no say');
});
