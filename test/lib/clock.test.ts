import t from 'tap';
import { ms } from '../../src/lib/brand.ts';
import { systemClock } from '../../src/lib/clock.ts';

void t.test('a sleep ends with its time, or with the reason of its signal', async (t) => {
  // A sleep alone does not keep the process alive.
  const alive = setInterval(() => undefined, 1000);
  t.teardown(() => clearInterval(alive));
  const before = systemClock.monotonic();
  await systemClock.sleep(ms(5));
  t.ok(systemClock.monotonic() - before >= 4);
  const reason = new Error('the client went away');
  const controller = new AbortController();
  const asleep = systemClock.sleep(ms(1e6), controller.signal);
  controller.abort(reason);
  t.equal(await asleep.catch((error: unknown) => error), reason);
  const late = systemClock.sleep(ms(1e6), AbortSignal.abort(reason));
  t.equal(await late.catch((error: unknown) => error), reason);
});
