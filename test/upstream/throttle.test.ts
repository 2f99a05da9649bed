import t from 'tap';
import { ms, seconds } from '../../src/lib/brand.ts';
import { parseQuota, parseRetryAfter, ThrottleWindow } from '../../src/upstream/throttle.ts';
import { FakeClock } from '../support/fake-clock.ts';

await t.test('Retry-After in seconds, as a date, absent, absurd', (t) => {
  const now = ms(Date.UTC(2026, 0, 1));
  const wait = (header?: string): number => parseRetryAfter(header, now);
  t.equal(wait('7'), 7000);
  t.equal(wait(' 7 '), 7000);
  t.equal(wait('Thu, 01 Jan 2026 00:02:00 GMT'), 120_000);
  t.equal(wait(), 5000);
  t.equal(wait('soon'), 5000);
  t.equal(wait('-3'), 5000);
  t.equal(wait('0'), 1000);
  t.equal(wait('Wed, 31 Dec 2025 00:00:00 GMT'), 1000);
  t.equal(wait('999999999999999999999'), 3_600_000);
  t.equal(wait('Fri, 01 Jan 2027 00:00:00 GMT'), 3_600_000);
  t.end();
});

await t.test("Docker Hub's quota, to the letter", (t) => {
  t.same(parseQuota('100;w=21600', '76;w=21600'), { limit: 100, remaining: 76 });
  t.same(parseQuota('200', '0'), { limit: 200, remaining: 0 });
  const long = `${'1'.repeat(100_000)};w=${'1'.repeat(100_000)}`;
  for (const wrong of [
    undefined,
    '',
    'many',
    '-1',
    '1.5',
    '1e3',
    '0x10',
    ' 7',
    '7;',
    '7;w=',
    '7;q=1',
    '7;w=1;',
    '7, 8',
    '1234567890',
    long,
  ]) {
    t.equal(parseQuota(wrong, '76;w=21600'), undefined, String(wrong).slice(0, 20));
    t.equal(parseQuota('100;w=21600', wrong), undefined);
  }
  t.end();
});

await t.test('after the window one goes ahead, and its answer lets the rest follow', async (t) => {
  const clock = new FakeClock();
  const changes: boolean[] = [];
  const window: ThrottleWindow = new ThrottleWindow(clock, () => changes.push(window.running));
  t.ok(window.admit());
  window.begin(seconds(5));
  window.begin(seconds(2));
  t.equal(window.remaining, 5000, 'a shorter wish does not shorten it');
  t.equal(window.admit(), undefined);
  await clock.advance(4999);
  t.equal(window.admit(), undefined);
  await clock.advance(1);
  t.same(changes, [true, false]);
  const probe = window.admit();
  t.ok(probe);
  t.equal(window.admit(), undefined, 'one probe at a time');
  probe?.(false);
  const second = window.admit();
  t.ok(second, 'an asker that went away has told nothing');
  window.begin(seconds(3));
  second?.(true);
  t.equal(window.admit(), undefined, 'the next window');
  await clock.advance(3000);
  window.admit()?.(true);
  t.ok(window.admit());
  t.ok(window.admit());
  window.close();
  t.equal(clock.sleeping, 0);
});
