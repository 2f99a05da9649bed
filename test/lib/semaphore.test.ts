import { setImmediate as turn } from 'node:timers/promises';
import * as fc from 'fast-check';
import t from 'tap';
import { Semaphore } from '../../src/lib/semaphore.ts';

void t.test('waiters enter in the order of their coming', async (t) => {
  const semaphore = new Semaphore(2);
  const entered: number[] = [];
  const releases = Array.from({ length: 5 }, async (_, at) => {
    const release = await semaphore.acquire();
    entered.push(at);
    return release;
  });
  await turn();
  t.strictSame(entered, [0, 1]);
  t.equal(semaphore.waiting, 3);
  for (const [at, release] of releases.entries()) {
    (await release)();
    await turn();
    t.strictSame(entered, [0, 1, 2, 3, 4].slice(0, at + 3));
  }
  t.equal(semaphore.waiting, 0);
});

void t.test('a second release of the same hold is nothing', async (t) => {
  const semaphore = new Semaphore(1);
  const release = await semaphore.acquire();
  release();
  release();
  const held = await semaphore.acquire();
  let entered = false;
  const next = semaphore.acquire().then((release) => {
    entered = true;
    return release;
  });
  release();
  await turn();
  t.equal(entered, false);
  held();
  (await next)();
  t.equal(entered, true);
});

void t.test('never more holders than the limit, and everybody gets in', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.nat({ max: 4 }), { maxLength: 30 }),
      async (limit, holds) => {
        const semaphore = new Semaphore(limit);
        let holders = 0;
        let most = 0;
        await Promise.all(
          holds.map(async (turns) => {
            const release = await semaphore.acquire();
            holders += 1;
            most = Math.max(most, holders);
            for (let left = turns; left > 0; left -= 1) await Promise.resolve();
            holders -= 1;
            release();
          }),
        );
        return most <= limit && holders === 0 && semaphore.waiting === 0;
      },
    ),
  );
});
