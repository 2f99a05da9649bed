import t from 'tap';
import {
  SCHEDULE_TIMES,
  WarmSchedules,
  type WarmRun,
  type WarmSchedule,
} from '../../../src/cache/warm/warm-schedules.ts';
import { ms } from '../../../src/lib/brand.ts';
import type { CronTime, Timetable } from '../../../src/lib/timetable.ts';
import { startCentral, type Central } from '../../support/central.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { createImage } from '../../support/images.ts';
import type { Teardown } from '../../support/temp.ts';
import { CacheSite, reference, repository } from '../cache-site.ts';

const image = createImage({ layers: [20_000] });

void t.test('a schedule fires: its images are here, and pinned where it says so', async (t) => {
  const { central, site, fire, happened } = await started(t, { pin: true });
  central.addImage('team/app', 'v1', image);
  fire();
  await eventually(() => happened.length === 1);
  t.same(happened, ['nightly complete']);
  t.equal(central.requests('GET', 'blob'), 2);
  t.match(await site.pins.pins(), [{ image: 'central/team/app:v1', missing: 0 }]);
  fire();
  await eventually(() => happened.length === 2);
  t.same(happened, ['nightly complete', 'nightly complete']);
  t.equal(central.requests('GET', 'blob'), 2, 'the second time, nothing is fetched');
});

void t.test('a run that takes longer than its interval: the next one is left out', async (t) => {
  const { central, fire, happened } = await started(t);
  central.addImage('team/app', 'v1', image);
  const gate = Promise.withResolvers<void>();
  central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 10, until: gate.promise });
  fire();
  await eventually(() => central.requests('GET', 'blob') === 2);
  fire();
  t.same(happened, ['nightly skipped']);
  gate.resolve();
  await eventually(() => happened.length === 2);
  t.same(happened, ['nightly skipped', 'nightly complete']);
});

void t.test('a run with an upstream that is down goes on when it is back', async (t) => {
  const clock = new FakeClock();
  const { central, site, fire, happened } = await started(t, {}, clock);
  central.addImage('team/app', 'v1', image);
  const down = central.on({}, { kind: 'status', status: 503 });
  fire();
  await eventually(() => clock.sleeping > 0);
  t.same(happened, []);
  down.remove();
  await eventually(() => site.upstream.available);
  await clock.advance(SCHEDULE_TIMES.firstPause);
  await eventually(() => happened.length === 1);
  t.same(happened, ['nightly complete']);
});

void t.test('a run is tried so often and no more', async (t) => {
  const clock = new FakeClock();
  const { central, fire, happened } = await started(t, {}, clock);
  central.on({}, { kind: 'status', status: 503 });
  fire();
  await eventually(async () => {
    await clock.advance(SCHEDULE_TIMES.firstPause);
    return happened.length === 1;
  });
  t.same(happened, ['nightly failed']);
});

void t.test('what is wrong for good is not tried again', async (t) => {
  const clock = new FakeClock();
  const { central, fire, happened } = await started(t, {}, clock);
  fire();
  await eventually(() => happened.length === 1);
  t.same(happened, ['nightly failed']);
  t.equal(central.requests('GET', 'manifest'), 1);
});

void t.test('jitter puts a run off', async (t) => {
  const clock = new FakeClock();
  const { central, fire, happened } = await started(t, { jitter: ms(600_000) }, clock);
  central.addImage('team/app', 'v1', image);
  fire();
  await clock.advance(299_000);
  t.same([clock.sleeping, central.log.length], [1, 0]);
  await clock.advance(1000);
  await eventually(() => happened.length === 1);
  t.same(happened, ['nightly complete']);
});

void t.test('a stop ends what waits, and nothing fires after it', async (t) => {
  const clock = new FakeClock();
  const { schedules, cancelled, fire, happened } = await started(t, { jitter: ms(600_000) }, clock);
  fire();
  await eventually(() => clock.sleeping === 1);
  await schedules.stop();
  t.same(happened, ['nightly stopped']);
  t.equal(cancelled(), 1);
  t.equal(clock.sleeping, 0);
});

async function started(
  t: Teardown,
  options: Partial<WarmSchedule> = {},
  clock?: FakeClock,
): Promise<{
  central: Central;
  site: CacheSite;
  schedules: WarmSchedules;
  fire: () => void;
  cancelled: () => number;
  happened: string[];
}> {
  const central = await startCentral();
  t.teardown(() => central.stop());
  const site = await CacheSite.open(t, central);
  const happened: string[] = [];
  const fired = new HandTimetable();
  const schedule: WarmSchedule = {
    name: 'nightly',
    time: { pattern: '0 5 * * *', timezone: undefined },
    jitter: ms(0),
    images: [{ repository: repository('team/app'), reference: reference('v1') }],
    platforms: undefined,
    pin: false,
    ...options,
  };
  const note = ({ name }: WarmSchedule, run: WarmRun): void => void happened.push(`${name} ${run.outcome}`);
  const schedules = new WarmSchedules([schedule], {
    warmer: site.warmer,
    timetable: fired,
    clock: clock ?? new FakeClock(),
    random: () => 0.5,
    times: SCHEDULE_TIMES,
    skipped: ({ name }) => void happened.push(`${name} skipped`),
    ended: note,
    failed: ({ name }, error) => void happened.push(`${name} broke ${String(error)}`),
  });
  schedules.start();
  t.teardown(() => schedules.stop());
  return {
    central,
    site,
    schedules,
    fire: () => fired.fire(),
    cancelled: () => fired.cancelled,
    happened,
  };
}

/** Fires when the test says so. */
class HandTimetable implements Timetable {
  readonly #runs: (() => void)[] = [];
  cancelled = 0;

  at(_time: CronTime, run: () => void): () => void {
    this.#runs.push(run);
    return () => {
      this.cancelled += 1;
    };
  }

  fire(): void {
    for (const run of this.#runs) run();
  }
}
