import t from 'tap';
import { ms } from '../../../src/lib/brand.ts';
import { Places } from '../../../src/lib/limits/places.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function twoPlaces(maxWaiting = 2, most = { now: 2 }): { clock: FakeClock; places: Places } {
  const clock = new FakeClock();
  return { clock, places: new Places({ clock, most: () => most.now, patience: ms(3000), maxWaiting }) };
}

void t.test('each holder has so many places, and what is kept of them goes with the last', async (t) => {
  const { places } = twoPlaces();
  const [first, second] = [places.tryEnter('a'), places.tryEnter('a')];
  t.equal(places.tryEnter('a'), undefined);
  const other = places.tryEnter('b');
  t.ok(first && second && other, 'another holder has places of their own');
  first?.();
  first?.();
  t.ok(places.tryEnter('a'), 'a place that is given back twice is one place');
  t.equal(places.tryEnter('a'), undefined);
  other?.();
  t.equal(places.holders, 1);
});

void t.test('who waits gets a place in turn', async (t) => {
  const { clock, places } = twoPlaces();
  const held = [places.tryEnter('a'), places.tryEnter('a')];
  const order: string[] = [];
  const enter = async (name: string): Promise<void> => {
    const leave = await places.enter('a');
    order.push(leave === undefined ? `${name} not` : name);
  };
  const all = [enter('first'), enter('second'), enter('too many')];
  await all[2];
  t.same(order, ['too many not'], 'at once');
  for (const leave of held) leave?.();
  t.equal(places.tryEnter('a'), undefined, 'they are given already');
  await Promise.all(all);
  t.same(order, ['too many not', 'first', 'second']);
  t.equal(clock.sleeping, 0);
});

void t.test('patience ends, and whoever gave up holds nothing', async (t) => {
  const { clock, places } = twoPlaces();
  const leave = places.tryEnter('a');
  const other = places.tryEnter('a');
  const waits = places.enter('a');
  await clock.advance(3000);
  t.equal(await waits, undefined);
  leave?.();
  t.ok(places.tryEnter('a'));
  other?.();
});

void t.test('nobody waits where nobody could make room', async (t) => {
  const most = { now: 2 };
  const { clock, places } = twoPlaces(2, most);
  const leave = places.tryEnter('a');
  places.tryEnter('a')?.();
  most.now = 0;
  const waits = places.enter('a');
  leave?.();
  t.equal(await waits, undefined, 'the last one has left and there is no room all the same');
  t.equal(await places.enter('a'), undefined);
  t.equal(places.holders, 0);
  t.equal(clock.sleeping, 0);
});
