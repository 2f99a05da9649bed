import t from 'tap';
import { eventually } from '../../support/eventually.ts';
import { createImage, randomBlob } from '../../support/images.ts';
import { ms } from '../../../src/lib/brand.ts';
import { digest, readAll, reference, repository } from '../cache-site.ts';
import { PRIVATE, scene } from './scene.ts';

void t.test('200 at once for a cold private blob: she gets it in one transfer, he not a byte', async (t) => {
  const { central, worker, bearer } = await scene(t);
  const blob = central.addBlob(PRIVATE, randomBlob(1_000_000, 'race'));
  const [ada, bob] = [await bearer('ada'), await bearer('bob')];
  const workers = [worker(), worker()];
  central.forget();
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, at) => {
      const shown = at % 2 === 0 ? ada : bob;
      return { shown, answer: await workers[(at >> 1) % 2]?.blob(shown, blob.digest) };
    }),
  );
  for (const { shown, answer } of answers) {
    if (shown === bob) t.equal(answer, 'UNAUTHORIZED');
    else t.ok(Buffer.isBuffer(answer) && answer.equals(blob.bytes));
  }
  t.equal(central.requests('GET', 'blob'), 1);
  t.equal(central.requests('HEAD', 'blob'), 2, 'one verdict each');
});

void t.test('with credentials of its own the edge fetches as itself, and the caller is judged', async (t) => {
  const credentials = { username: 'ada', password: 'canary-ada' };
  const { central, worker, bearer } = await scene(t, { credentials });
  const blob = central.addBlob(PRIVATE, randomBlob(1000, 'own'));
  const bob = await bearer('bob');
  const one = worker();
  t.equal(await one.blob(bob, blob.digest), 'UNAUTHORIZED');
  const questions = central.find({ kind: 'blob' });
  t.same(
    questions.map(({ headers }) => headers.authorization),
    [bob],
    'what he shows, and then nothing of the edge',
  );
  const ada = await bearer('ada');
  t.same(await one.blob(ada, blob.digest), blob.bytes);
  const [fetched] = central.find({ kind: 'blob', method: 'GET' });
  t.not(fetched?.headers.authorization, ada);
});

void t.test('a no to one is neither kept for nor given to another', async (t) => {
  const { central, clock, worker, bearer } = await scene(t);
  const image = createImage({ layers: [5000], seed: 'both' });
  central.addImage(PRIVATE, 'v1', image);
  const { edge } = worker();
  // Let in by a verdict that has become old: the cache itself has to keep them apart.
  const [ada, bob] = [repository(PRIVATE, await bearer('ada')), repository(PRIVATE, await bearer('bob'))];
  const nobody = repository(PRIVATE, '');
  const [layer] = image.blobs;
  const of = digest(layer?.digest ?? '');
  const latest = reference('v1');
  for (const denied of [bob, nobody]) {
    t.match(await edge.manifest(denied, latest), { kind: 'unauthorized' });
    t.match(await edge.manifest(denied, reference(image.digest)), { kind: 'unauthorized' });
    t.match(await edge.blob(denied, of), { kind: 'unauthorized' });
    t.match(await edge.blobSize(denied, of), { kind: 'unauthorized' });
  }
  central.on({ when: ({ headers }) => headers.authorization === bob.asker.authorization }, NOT_FOUND);
  t.match(await edge.manifest(bob, latest), { kind: 'unknown' });
  t.match(await edge.blob(bob, of), { kind: 'unknown' });
  t.match(await edge.manifest(ada, latest), { result: 'miss' });
  const found = await edge.blob(ada, of);
  if (found.kind !== 'blob') throw new Error(found.kind);
  await readAll(found.body);
  clock.pass(61_000);
  t.match(await edge.manifest(bob, latest), { kind: 'unknown' }, 'the tag is old, and asked for as him');
  t.match(await edge.manifest(ada, latest), { result: 'revalidated' }, 'it is still her tag');
});

const NOT_FOUND = { kind: 'status', status: 404 } as const;

void t.test('asked at the same time: his no is his, and she asks for herself', async (t) => {
  const { central, worker, bearer } = await scene(t);
  const image = createImage({ layers: [5000], seed: 'same time' });
  central.addImage(PRIVATE, 'v1', image);
  const { edge } = worker();
  const [ada, bob] = [repository(PRIVATE, await bearer('ada')), repository(PRIVATE, await bearer('bob'))];
  const [layer] = image.blobs;
  const of = digest(layer?.digest ?? '');
  const gate = Promise.withResolvers<void>();
  central.on(
    { when: ({ headers }) => headers.authorization === bob.asker.authorization },
    { kind: 'stall', until: gate.promise },
  );
  const his = [edge.manifest(bob, reference('v1')), edge.blob(bob, of)];
  await eventually(() => central.running === 2);
  const hers = [edge.manifest(ada, reference('v1')), edge.blob(ada, of)] as const;
  gate.resolve();
  t.match(await Promise.all(his), [{ kind: 'unauthorized' }, { kind: 'unauthorized' }]);
  t.match(await hers[0], { kind: 'manifest' });
  const found = await hers[1];
  if (found.kind !== 'blob') throw new Error(found.kind);
  t.same((await readAll(found.body)).content, layer?.bytes);
});

void t.test('a token that ends in the middle of a transfer: it goes on by that of another', async (t) => {
  const { central, site, worker, bearer } = await scene(t, { times: { patience: ms(10_000) } });
  const blob = central.addBlob(PRIVATE, randomBlob(600_000, 'middle'));
  const { edge } = worker();
  const first = await bearer('ada');
  const of = digest(blob.digest);
  const joined = Promise.withResolvers<void>();
  central.on(
    { kind: 'blob', method: 'GET' },
    { kind: 'stall', afterBytes: 200_000, until: joined.promise, times: 1 },
  );
  central.on({ kind: 'blob', method: 'GET' }, { kind: 'cut', afterBytes: 300_000, times: 1 });
  const one = await edge.blob(repository(PRIVATE, first), of);
  if (one.kind !== 'blob') throw new Error(one.kind);
  central.door?.revokeAll();
  const second = await bearer('ada');
  const two = await edge.blob(repository(PRIVATE, second), of);
  if (two.kind !== 'blob') throw new Error(two.kind);
  joined.resolve();
  const [a, b] = await Promise.all([readAll(one.body), readAll(two.body)]);
  t.same([a.error, b.error], [undefined, undefined]);
  t.ok(a.content.equals(blob.bytes) && b.content.equals(blob.bytes));
  t.same(
    central.find({ kind: 'blob', method: 'GET' }).map(({ headers }) => headers.authorization),
    [first, second],
  );
  t.ok(site.happened.some((what) => what.startsWith('resumed at')));
});

void t.test('nothing that callers show is kept with a fill', async (t) => {
  const { central, site, worker, bearer } = await scene(t);
  const blob = central.addBlob(PRIVATE, randomBlob(300_000, 'kept'));
  central.on({ kind: 'blob', method: 'GET' }, { kind: 'stall', afterBytes: 100_000 });
  const ada = await bearer('ada');
  const found = await worker().edge.blob(repository(PRIVATE, ada), digest(blob.digest));
  t.equal(found.kind, 'blob');
  await eventually(() => [...site.store.localRecords('fills').entries()].length === 1);
  const [[key, value] = ['', Buffer.of()]] = [...site.store.localRecords('fills').entries()];
  t.notMatch(`${key}${Buffer.from(value).toString()}`, ada.slice(7));
});
