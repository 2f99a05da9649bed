import t from 'tap';
import type { KeeperEvent } from '../../src/cache/keeper.ts';
import { startCentral } from '../support/central.ts';
import { eventually } from '../support/eventually.ts';
import { randomBlob } from '../support/images.ts';
import { CacheSite, digest, repository } from './cache-site.ts';

void t.test('a worker that comes later knows which upstreams are away', async (t) => {
  const central = await startCentral();
  t.teardown(() => central.stop());
  const site = await CacheSite.open(t, central);
  const early: KeeperEvent[] = [];
  site.core.connect((event) => early.push(event));
  t.same(early, []);
  site.core.tellUpstream('central', false);
  const late: KeeperEvent[] = [];
  site.core.connect((event) => late.push(event));
  const away: KeeperEvent = { kind: 'upstream', name: 'central', available: false };
  t.same([early, late], [[away], [away]]);
  site.core.tellUpstream('central', true);
  const last: KeeperEvent[] = [];
  site.core.connect((event) => last.push(event));
  t.same(last, []);
});

void t.test('a session hears of the fills that it asked for, and of no others', async (t) => {
  const central = await startCentral();
  t.teardown(() => central.stop());
  const blob = central.addBlob('team/app', randomBlob(300_000, 1));
  const site = await CacheSite.open(t, central);
  const asking: KeeperEvent[] = [];
  const other: KeeperEvent[] = [];
  const session = site.core.connect((event) => asking.push(event));
  site.core.connect((event) => other.push(event));
  const answer = await session.blob({ repository: repository('team/app'), digest: digest(blob.digest) });
  t.equal(answer.kind, 'fill');
  await eventually(() =>
    asking.some((event) => event.kind === 'fill' && event.progress.state.kind === 'done'),
  );
  t.same(other, []);
});
