import t from 'tap';
import { cronTimetable, nextTime } from '../../src/lib/timetable.ts';
import { eventually } from '../support/eventually.ts';

void t.test('the next time, in the zone that is said', async (t) => {
  const inBerlin = nextTime({ pattern: '0 5 * * 1-5', timezone: 'Europe/Berlin' });
  t.match(
    inBerlin?.toLocaleString('en-GB', { timeZone: 'Europe/Berlin' }),
    /, 05:00:00$/,
    'five by the clocks of Berlin',
  );
  t.ok([1, 2, 3, 4, 5].includes(inBerlin?.getUTCDay() ?? 0), 'on a working day');
  t.ok(nextTime({ pattern: '@daily', timezone: undefined }));
  t.equal(nextTime({ pattern: '0 0 30 2 *', timezone: undefined }), undefined);
});

void t.test('what is no time is refused', async (t) => {
  for (const pattern of [
    '',
    'soon',
    '* * *',
    '61 * * * *',
    '0 5 * * 8',
    '@never',
    '* * * * * * 2030',
    '2030-01-01T00:00:00',
  ])
    t.throws(() => nextTime({ pattern, timezone: undefined }), pattern);
  t.throws(() => nextTime({ pattern: '@daily', timezone: 'Mars/Olympus' }));
});

void t.test('it fires by the real clock until it is told to stop', async (t) => {
  // The timetable keeps no process alive; an edge's listeners do, and here this does.
  const hold = setInterval(() => undefined, 60_000);
  t.teardown(() => clearInterval(hold));
  let fired = 0;
  const stop = cronTimetable.at({ pattern: '* * * * * *', timezone: undefined }, () => {
    fired += 1;
  });
  await eventually(() => fired >= 1);
  stop();
  let other = 0;
  const stopOther = cronTimetable.at({ pattern: '* * * * * *', timezone: undefined }, () => {
    other += 1;
  });
  const before = fired;
  await eventually(() => other >= 1);
  stopOther();
  t.equal(fired, before, 'stopped while another still fires');
});
