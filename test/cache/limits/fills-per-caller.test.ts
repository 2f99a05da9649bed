import t, { type Test } from 'tap';
import { ms, seconds } from '../../../src/lib/brand.ts';
import { Places } from '../../../src/lib/limits/places.ts';
import { startCentral, type Central } from '../../support/central.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { randomBlob } from '../../support/images.ts';
import { CacheSite, digest, repository } from '../cache-site.ts';

const PATIENCE = ms(3000);
const REPOSITORY = repository('team/app');
const [ADA, BOB] = [{ caller: 'user ada' }, { caller: 'user bob' }];

interface Scene {
  readonly clock: FakeClock;
  readonly central: Central;
  readonly places: Places;
  readonly ask: (n: number, asker?: { readonly caller: string }) => Promise<string>;
  /** Lets the central send the rest of everything. */
  readonly release: () => void;
}

/** Blobs whose transfer does not end before it may; two places a caller. */
async function open(t: Test): Promise<Scene> {
  const central = await startCentral();
  t.teardown(() => central.stop());
  const gate = Promise.withResolvers<void>();
  central.on({ kind: 'blob' }, { kind: 'stall', afterBytes: 1000, until: gate.promise });
  const clock = new FakeClock();
  const places = new Places({ clock, most: () => 2, patience: PATIENCE, maxWaiting: 3 });
  const site = await CacheSite.open(t, central, { places, times: { patience: seconds(60) } });
  const blobs = Array.from({ length: 8 }, (_, n) => central.addBlob('team/app', randomBlob(70_000, n)));
  const session = site.core.connect(() => undefined);
  const ask: Scene['ask'] = async (n, asker) => {
    const blob = digest(blobs[n]?.digest ?? '');
    const answer = await session.blob({ repository: REPOSITORY, digest: blob, ...(asker && { asker }) });
    if (answer.kind !== 'fill') return answer.kind;
    return answer.joined ? 'joined' : 'started';
  };
  t.teardown(() => gate.resolve());
  return { clock, central, places, ask, release: () => gate.resolve() };
}

void t.test('a caller has so many fills under way; joining one costs nothing', async (t) => {
  const { clock, central, ask } = await open(t);
  t.equal(await ask(0, ADA), 'started');
  t.equal(await ask(1, ADA), 'started');
  const third = ask(2, ADA);
  await eventually(() => clock.sleeping === 1);
  t.equal(await ask(1, ADA), 'joined');
  t.equal(await ask(3, BOB), 'started', 'another caller has places of their own');
  t.equal(await ask(4), 'started', 'and the edge itself needs none');
  await clock.advance(PATIENCE);
  t.equal(await third, 'limited');
  t.equal(central.requests('GET', 'blob'), 4, 'nothing was asked for the one that had no place');
});

void t.test('who waits holds nobody else up, and joins what another starts', async (t) => {
  const { clock, ask } = await open(t);
  await ask(0, ADA);
  await ask(1, ADA);
  const waits = ask(2, ADA);
  await eventually(() => clock.sleeping === 1);
  t.equal(await ask(2, BOB), 'started');
  await clock.advance(PATIENCE);
  t.equal(await waits, 'joined');
});

void t.test('a place comes free with the end of a fill', async (t) => {
  const { clock, places, ask, release } = await open(t);
  await ask(0, ADA);
  await ask(1, ADA);
  const waiting = [ask(2, ADA), ask(3, ADA)];
  await eventually(() => clock.sleeping === 2);
  release();
  t.same(await Promise.all(waiting), ['started', 'started']);
  await eventually(() => places.holders === 0, { what: 'all places are given back' });
});

void t.test('a blob that is not there gives its place back', async (t) => {
  const { central, places, ask } = await open(t);
  central.heal();
  central.on({ kind: 'blob' }, { kind: 'status', status: 404 });
  for (let n = 0; n < 6; n += 1) t.equal(await ask(n, ADA), 'unknown');
  await eventually(() => places.holders === 0);
});
