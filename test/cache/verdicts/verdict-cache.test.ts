import t from 'tap';
import type { VerdictStore } from '../../../src/cache/verdicts/verdict-records.ts';
import { Unauthorized } from '../../../src/access/refusals.ts';
import { createImage, randomBlob } from '../../support/images.ts';
import { ms } from '../../../src/lib/brand.ts';
import { basic, callerOf, PRIVATE, scene } from './scene.ts';

const IMAGE = createImage({ layers: [20_000], seed: 'private' });
const [LAYER = randomBlob(1, 1), CONFIG = randomBlob(1, 2)] = IMAGE.blobs;
const ABSENT = randomBlob(10, 'absent').digest;

void t.test('what one has pulled, the other is not shown', async (t) => {
  const { central, site, worker, bearer } = await scene(t);
  central.addImage(PRIVATE, 'v1', IMAGE);
  const one = worker();
  const ada = await bearer('ada');
  const bob = await bearer('bob');
  t.equal(await one.manifest(ada, 'v1'), 'miss');
  t.equal(await one.manifest(ada, IMAGE.digest), 'hit');
  t.same(await one.blob(ada, LAYER.digest), LAYER.bytes);
  central.forget();
  for (const shown of [bob, undefined, 'Bearer made-up']) {
    t.equal(await one.manifest(shown, 'v1'), 'UNAUTHORIZED');
    t.equal(await one.manifest(shown, IMAGE.digest), 'UNAUTHORIZED');
    t.equal(await one.blob(shown, LAYER.digest), 'UNAUTHORIZED');
    t.equal(await one.head(shown, LAYER.digest), 'UNAUTHORIZED');
    t.equal(await one.tags(shown), 'UNAUTHORIZED');
  }
  t.equal(central.requests(), 3, 'each of them was asked about once');
  t.same(await one.blob(ada, LAYER.digest), LAYER.bytes);
  t.equal(await worker().manifest(ada, 'v1'), 'hit', 'also in another worker');
  t.equal(central.requests(), 3);
  t.equal(site.misses.length, 2);
});

void t.test('challenges are those of the upstream', async (t) => {
  const { central, worker, bearer } = await scene(t);
  central.addImage(PRIVATE, 'v1', IMAGE);
  const { access } = worker();
  const challenge = async (work: () => unknown): Promise<readonly string[]> => {
    try {
      await work();
    } catch (error) {
      if (error instanceof Unauthorized) return error.challenges;
      throw error;
    }
    return [];
  };
  const realm = `Bearer realm="${central.issuerUrl}",service="central"`;
  t.same(await challenge(() => access.ping(callerOf(undefined), () => 'central')), [realm]);
  const { upstream, name } = { upstream: 'central', name: 'team/app' };
  const wanted = {
    repository: { upstream, name },
    name,
    action: 'pull',
    object: undefined,
    host: undefined,
  } as unknown as Parameters<typeof access.authorize>[1];
  const scope = `${realm},scope="repository:team/app:pull"`;
  t.same(await challenge(() => access.authorize(callerOf(undefined), wanted)), [scope]);
  const bob = await bearer('bob');
  t.same(await challenge(() => access.authorize(callerOf(bob), wanted)), [
    `${scope},error="insufficient_scope"`,
  ]);
});

void t.test('Basic: 403 and 404 look the same, and one no is not the no for another thing', async (t) => {
  const { central, site, clock, worker } = await scene(t, { mode: 'basic' });
  central.addImage(PRIVATE, 'v1', IMAGE);
  const one = worker();
  const [ada, bob] = [basic('ada'), basic('bob')];
  t.same(await one.blob(ada, LAYER.digest, PRIVATE), LAYER.bytes);
  central.forget();
  t.equal(await one.blob(bob, LAYER.digest), 'DENIED', 'hidden: the server makes a 404 of it');
  t.equal(await one.blob(bob, LAYER.digest), 'DENIED');
  t.equal(central.requests(), 1, 'a flood stays here');
  const stranger = basic('bob', 'wrong');
  t.equal(await one.manifest(stranger, 'v1'), 'UNAUTHORIZED');
  clock.pass(61_000);
  t.equal(await one.head(ada, ABSENT), 'DENIED', 'not there, at this moment nothing is known of her');
  t.same(await one.blob(ada, LAYER.digest), LAYER.bytes, 'but this is');
  site.verdicts.pushed({ upstream: 'central', name: 'team/app' } as never);
  t.equal(await one.head(ada, ABSENT), 'unknown', 'she is known again, and asks the cache');
});

void t.test('one question per caller and repository, however many ask', async (t) => {
  const { central, worker, bearer } = await scene(t);
  central.addImage(PRIVATE, 'v1', IMAGE);
  const ada = await bearer('ada');
  central.forget();
  const workers = [worker(), worker()];
  const asked = Array.from({ length: 30 }, () =>
    workers.flatMap((one) => [one.head(ada, LAYER.digest), one.head(ada, CONFIG.digest)]),
  ).flat();
  t.same(new Set(await Promise.all(asked)), new Set(['size']));
  const verdicts = central.find({ kind: 'blob', method: 'HEAD' });
  t.equal(verdicts.length, 1 + 2, 'one for the verdict, one for each size');
});

void t.test('access that is taken away ends within freshness.verdict', async (t) => {
  const { central, clock, readers, worker } = await scene(t, { mode: 'basic' });
  central.addImage(PRIVATE, 'v1', IMAGE);
  const one = worker();
  const ada = basic('ada');
  t.equal(await one.manifest(ada, 'v1'), 'miss');
  t.same(await one.blob(ada, LAYER.digest), LAYER.bytes);
  readers.delete('ada');
  clock.pass(59_000);
  t.same(await one.blob(ada, LAYER.digest), LAYER.bytes);
  clock.pass(2_000);
  t.equal(await one.blob(ada, LAYER.digest), 'DENIED');
  t.equal(await one.manifest(ada, 'v1'), 'DENIED');
  t.equal(await worker().manifest(ada, IMAGE.digest), 'DENIED');
});

void t.test('during an outage: a verdict and its grace, and no more', async (t) => {
  for (const grace of [0, 3_600_000]) {
    const { central, clock, worker } = await scene(t, {
      mode: 'basic',
      rules: { verdictGrace: ms(grace), deadline: ms(200) },
    });
    central.addImage(PRIVATE, 'v1', IMAGE);
    const one = worker();
    const ada = basic('ada');
    t.equal(await one.manifest(ada, 'v1'), 'miss');
    for (const blob of IMAGE.blobs) t.same(await one.blob(ada, blob.digest), blob.bytes);
    t.equal(await one.ping(), 'UNAUTHORIZED');
    await central.stop();
    t.same(await one.blob(ada, LAYER.digest), LAYER.bytes, 'a fresh verdict asks nobody');
    clock.pass(61_000);
    const [blob, manifest] = grace === 0 ? ['BLOB_UNKNOWN', 'UNAVAILABLE'] : [LAYER.bytes, 'stale'];
    t.same(await one.blob(ada, LAYER.digest), blob, `grace ${grace}`);
    t.equal(await one.manifest(ada, 'v1'), manifest);
    t.equal(await one.manifest(basic('bob'), 'v1'), 'UNAVAILABLE', 'no verdict, no grace');
    t.equal(await one.ping(), 'UNAUTHORIZED', 'the door is known');
    clock.pass(grace);
    t.equal(await one.blob(ada, LAYER.digest), 'BLOB_UNKNOWN', 'over');
  }
});

void t.test('a JWT is believed no longer than it says of itself', async (t) => {
  const { central, clock, worker } = await scene(t, { rules: { verdictGrace: ms(3_600_000) } });
  central.addImage('library/open', 'v1', IMAGE);
  central.on({ when: ({ headers }) => headers.authorization !== undefined }, { kind: 'status', status: 200 });
  const end = Math.floor(clock.now() / 1000) + 20;
  const jwt = ['{"alg":"none"}', `{"sub":"ada","exp":${end}}`, 'x'].map((part) =>
    Buffer.from(part).toString('base64url'),
  );
  const one = worker();
  const shown = `Bearer ${jwt.join('.')}`;
  const count = async (): Promise<number> => {
    central.forget();
    await one.head(shown, LAYER.digest, 'library/open');
    return central.find({ kind: 'blob' }).length;
  };
  t.equal(await count(), 2, 'its verdict, and the size');
  t.equal(await count(), 1);
  clock.pass(21_000);
  t.equal(await count(), 2, 'asked about anew');
  const caller = callerOf(shown);
  t.equal(one.access.identityOf(caller), undefined, 'not before the upstream has let them in');
  await one.access.ping(caller, () => 'central');
  t.match(one.access.identityOf(caller), { user: 'ada', by: 'upstream' });
});

void t.test('edges of a site share verdicts, and no secret', async (t) => {
  const records = new Map<string, Uint8Array>();
  const store: VerdictStore = {
    get: async (key) => records.get(key),
    put: async (key, value) => void records.set(key, value),
    delete: async (key) => void records.delete(key),
  };
  const first = await scene(t, { mode: 'basic', verdicts: store });
  const { central, clock } = first;
  central.addImage(PRIVATE, 'v1', IMAGE);
  const ada = basic('ada');
  t.equal(await first.worker().manifest(ada, 'v1'), 'miss');
  const second = await scene(t, { mode: 'basic', verdicts: store, central, clock });
  central.forget();
  t.equal(await second.worker().manifest(ada, 'v1'), 'miss');
  t.same(
    central.log.map(({ method }) => method),
    ['GET'],
    'it was not asked for a verdict',
  );
  const kept = [...records].map(([key, value]) => `${key}${Buffer.from(value).toString()}`).join('\n');
  t.notMatch(kept, /canary|YWRh/);
  first.readers.delete('ada');
  clock.pass(61_000);
  t.equal(await second.worker().manifest(ada, 'v1'), 'DENIED', 'an old record lets nobody in');
  t.equal(records.size, 0);
});

void t.test('a name is believed only of who was let in where not everybody is', async (t) => {
  for (const open of [false, true]) {
    const { central, worker } = await scene(t, { mode: 'basic' });
    central.addImage(PRIVATE, 'v1', IMAGE);
    if (open) central.on({}, { kind: 'status', status: 200 });
    const { access } = worker();
    const [ada, pusher, bob] = [callerOf(basic('ada')), callerOf(basic('ada')), callerOf(basic('bob', 'x'))];
    await access.ping(ada, () => 'central');
    t.equal(access.identityOf(ada)?.user, open ? undefined : 'ada');
    t.equal((await access.pusher(pusher, 'central'))?.user, open ? undefined : 'ada');
    t.equal(await access.pusher(callerOf(undefined), 'central'), undefined);
    if (!open) await t.rejects(access.ping(bob, () => 'central') ?? Promise.resolve());
    t.equal(access.identityOf(bob), undefined);
  }
});

void t.test(
  'made-up credentials and names reach the upstream only as far as their budget goes',
  async (t) => {
    const { central, worker, bearer } = await scene(t, { unknownPerSecond: 0.2 });
    central.addImage(PRIVATE, 'v1', IMAGE);
    const one = worker();
    const good = await bearer('ada');
    t.equal(await one.manifest(good, 'v1'), 'miss');
    const asked = central.requests();
    const words = [];
    for (let n = 0; n < 6; n += 1) words.push(await one.tags(`Bearer made.up.${n}`));
    t.same(words.slice(0, 2), ['UNAUTHORIZED', 'UNAUTHORIZED']);
    t.same(new Set(words.slice(2)), new Set(['TOOMANYREQUESTS']));
    t.equal(
      await one.tags('Bearer made.up.0', 'team/other'),
      'TOOMANYREQUESTS',
      'other names are no way around',
    );
    t.equal(central.requests() - asked, 2);
    t.equal(await one.manifest(good, 'v1'), 'hit', 'who is known behind that address goes on');
  },
);
