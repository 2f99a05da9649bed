import t from 'tap';
import { Follows } from '../../../src/cache/fills/follow.ts';
import type { FillProgress, FillState } from '../../../src/cache/keeper.ts';

const at = (available: number, state: FillState = { kind: 'running' }): FillProgress => ({
  fillId: 7,
  size: 100,
  available,
  state,
});
const noWindow = (): Promise<undefined> => Promise.resolve(undefined);

void t.test('events that overtook the answer that they follow are not lost', async (t) => {
  const follows = new Follows();
  follows.on({ kind: 'fill', progress: at(40) });
  const early = follows.join(at(10), noWindow);
  t.equal(early.progress.available, 40);
  await early.letGo();
  follows.on({ kind: 'fill', progress: at(100, { kind: 'done' }) });
  for (let reader = 0; reader < 2; reader += 1) {
    const late = follows.join(at(10), noWindow);
    t.same(late.progress, at(100, { kind: 'done' }), 'the end is known to each that joins late');
    await late.letGo();
  }
});

void t.test('an answer that is newer than what was heard is believed', async (t) => {
  const follows = new Follows();
  follows.on({ kind: 'fill', progress: at(40) });
  const follow = follows.join(at(50), noWindow);
  t.equal(follow.progress.available, 50);
});

void t.test('readers of one fill share what is known of it and hear of each change', async (t) => {
  const follows = new Follows();
  const follow = follows.join(at(10), noWindow);
  t.equal(follows.join(at(10), noWindow), follow);
  const changed = follow.changed();
  follows.on({ kind: 'fill', progress: at(20) });
  await changed;
  t.equal(follow.progress.available, 20);
  follows.on({ kind: 'upstream', name: 'central', available: false });
  t.equal(follow.progress.available, 20);
});
