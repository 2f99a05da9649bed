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

void t.test('what callers use at one worker is told to the others, and to the other edges', async (t) => {
  const central = await startCentral();
  t.teardown(() => central.stop());
  const told: unknown[] = [];
  const site = await CacheSite.open(t, central, { used: (usage) => void told.push(usage) });
  const heard = { one: [] as KeeperEvent[], other: [] as KeeperEvent[] };
  const one = site.core.connect((event) => heard.one.push(event));
  site.core.connect((event) => heard.other.push(event));
  const usage = [['10.0.0.1', 12]] as const;
  one.used(usage);
  t.same(heard, { one: [], other: [{ kind: 'usage', usage, by: 'workers' }] });
  t.same(told, [usage]);
  site.core.tellUsed(usage);
  const elsewhere: KeeperEvent = { kind: 'usage', usage, by: 'edges' };
  t.same([heard.one.at(-1), heard.other.at(-1)], [elsewhere, elsewhere]);
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
