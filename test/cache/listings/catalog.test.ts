import t from 'tap';
import { reference, repository } from '../cache-site.ts';
import { entriesOf, image, scene, settled } from './scene.ts';

const NAMES = ['team/app', 'team/tools', 'z'];

void t.test("an upstream's catalog, page by page, kept like any list", async (t) => {
  const { central, catalog } = await scene(t, { asksCatalog: true });
  for (const name of NAMES) central.addImage(name, 'v1', image);
  const first = await catalog({ n: 2 });
  t.same(entriesOf(first), ['team/app', 'team/tools']);
  t.match(first, { result: 'miss', next: { n: 2, last: 'team/tools' } });
  t.same(entriesOf(await catalog({ n: 2, last: 'team/tools' })), ['z']);
  t.match(await catalog({ n: 2 }), { result: 'hit' });
  t.same(
    central.log.map(({ url }) => url),
    ['/v2/_catalog?n=2', '/v2/_catalog?n=2&last=team%2Ftools'],
  );
});

void t.test('names that are none are left out', async (t) => {
  const { central, catalog } = await scene(t, { asksCatalog: true });
  const content = Buffer.from(
    JSON.stringify({ repositories: ['a', 'B', '../c', 'd\n', 'e/f', '', 'g'.repeat(256)] }),
  );
  central.on({ kind: 'catalog' }, { kind: 'swap', content });
  t.same(entriesOf(await catalog()), ['a', 'e/f']);
});

for (const status of [401, 403, 404, 405]) {
  void t.test(`an upstream without a catalog for us (${status}): what was pulled through here`, async (t) => {
    const { central, clock, worker, catalog } = await scene(t, { asksCatalog: true });
    for (const name of NAMES) central.addImage(name, 'v1', image);
    central.on({ kind: 'catalog' }, { kind: 'status', status });
    t.same(entriesOf(await catalog({ n: 1 })), []);
    for (const name of ['z', 'team/tools']) await worker.manifest(repository(name), reference('v1'));
    await clock.advance(61_000);
    const first = await catalog({ n: 1 });
    t.same(entriesOf(first), ['team/tools']);
    t.match(first, { next: { n: 1, last: 'team/tools' } });
    t.same(entriesOf(await catalog({ n: 1, last: 'team/tools' })), ['z']);
    central.forget();
    t.match(await catalog({ n: 1 }), { result: 'hit' });
    t.equal(central.requests(), 0);
  });
}

void t.test('one that is not to be asked, such as a project of a registry, is not', async (t) => {
  const { central, worker, catalog } = await scene(t);
  await worker.manifest(repository('team/app'), reference('a'));
  central.forget();
  t.same(entriesOf(await catalog()), ['team/app']);
  t.equal(central.requests(), 0);
});

void t.test('away: the list that was kept, else what was pulled', async (t) => {
  const { central, clock, worker, catalog } = await scene(t, { asksCatalog: true });
  for (const name of NAMES) central.addImage(name, 'v1', image);
  await worker.manifest(repository('z'), reference('v1'));
  await catalog({ n: 2 });
  central.on({}, { kind: 'cut' });
  await clock.advance(61_000);
  const stale = await settled(clock, catalog({ n: 2 }));
  t.match(stale, { result: 'stale' });
  t.same(entriesOf(stale), ['team/app', 'team/tools']);
  t.same(entriesOf(await settled(clock, catalog())), ['z']);
});
