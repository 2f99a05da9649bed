import t, { type Test } from 'tap';
import { startCentral, type Central, type CentralOptions } from '../support/central.ts';
import { get, type Answer } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage, pushImage, type ImageFixture } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRegistry } from '../support/registry.ts';
import { selfSigned } from '../support/self-signed.ts';
import { tempFolder } from '../support/temp.ts';
import { deadUrl } from '../upstream/scripted-server.ts';
import { cacheStatusOf, digestsIn, leavesNothing, pullAll, wholeOf } from './branch.ts';

const images = ['one', 'two', 'three'].map((seed) => createImage({ layers: [20_000, 3000], seed }));
const [one, two, three] = images as [ImageFixture, ImageFixture, ImageFixture];

async function central(t: Test, image: ImageFixture, options: CentralOptions = {}): Promise<Central> {
  const started = await startCentral(options);
  t.teardown(() => started.stop());
  started.addImage('library/app', 'latest', image);
  return started;
}

function manifest(base: string, query = '', headers: Record<string, string> = {}): Promise<Answer> {
  return get(`${base}/manifests/latest${query}`, { headers, keepBody: true });
}

for (const workers of [1, 2]) {
  void t.test(
    `three registries behind one edge, chosen by ns, path, Host and default, workers: ${workers}`,
    { skip: missing('docker-registry') },
    async (t) => {
      const first = await central(t, one);
      const second = await central(t, two);
      await using third = await startRegistry();
      await pushImage(third.url, 'library/app', 'latest', three);
      const upstreams = [
        { name: 'first.test', url: await deadUrl(), urls: [first.url] },
        { name: 'second.test', url: second.url, hosts: ['cache.second', 'other.second:81'] },
        { name: 'first.test:5000', url: second.url },
        { name: 'third.test', url: third.url, default: true },
      ];
      await using edge = await startEdge({ config: { upstreams }, workers });
      const app = `${edge.http}/v2/library/app`;
      const chosen = async (image: ImageFixture, ...asked: Promise<Answer>[]): Promise<void> => {
        for (const answer of await Promise.all(asked)) {
          t.equal(answer.status, 200);
          t.equal(`sha256:${answer.sha256}`, image.digest);
        }
      };
      await chosen(
        one,
        manifest(app, '?ns=first.test'),
        manifest(`${edge.http}/v2/first.test/library/app`),
        // Whoever names it is heard before the Host.
        manifest(app, '?ns=first.test', { host: 'cache.second' }),
        manifest(`${edge.http}/v2/first.test/library/app`, '', { host: 'cache.second' }),
      );
      await chosen(
        two,
        manifest(app, '?ns=second.test'),
        manifest(app, '?ns=first.test:5000'),
        manifest(`${edge.http}/v2/second.test/library/app`),
        manifest(app, '', { host: 'cache.second' }),
        manifest(app, '', { host: 'Cache.Second:5443' }),
        manifest(app, '', { host: 'other.second:81' }),
      );
      await chosen(three, manifest(app), manifest(app, '', { host: 'other.second:82' }));
      for (const [prefix, image] of [
        ['first.test/library/app', one],
        ['second.test/library/app', two],
        ['library/app', three],
      ] as const) {
        t.same(digestsIn(await pullAll(edge.http, prefix, 'latest', image)), wholeOf(image));
      }
      const asked = first.log.length + second.log.length;
      const before = third.log;
      for (const namespace of ['unknown.test', 'second.test:5000', 'FIRST.test', '127.0.0.1', '']) {
        const answer = await manifest(app, `?ns=${namespace}`);
        t.equal(answer.status, 404, namespace);
        t.match(answer.body.toString(), '"NAME_UNKNOWN"');
      }
      t.equal(first.log.length + second.log.length, asked);
      t.equal(third.log, before, 'no upstream was asked for what is of none');
      // What one registry has, another one has not.
      const foreign = await get(`${edge.http}/v2/library/app/blobs/${one.blobs[0]?.digest}`);
      t.equal(foreign.status, 404);
      await leavesNothing(t, edge);
    },
  );

  void t.test(`each upstream has its own freshness, workers: ${workers}`, async (t) => {
    const long = await central(t, one);
    const short = await central(t, two);
    const upstreams = [
      { name: 'long', url: long.url, default: true, freshness: { tag: '1h', negative: '1h' } },
      { name: 'short', url: short.url, freshness: { deadline: '1ms', negative: '0s' } },
      { name: 'strict', url: short.url, freshness: { staleIfError: '1ms' } },
    ];
    const freshness = { tag: '1ms', deadline: '1h' };
    await using edge = await startEdge({ config: { upstreams, freshness }, workers });
    const tagOf = (name: string): Promise<Answer> => manifest(`${edge.http}/v2/${name}/library/app`);
    for (const name of ['long', 'short', 'strict']) t.equal((await tagOf(name)).status, 200);
    t.equal(cacheStatusOf(await tagOf('long')), 'pierhead; hit');
    t.equal(long.requests('HEAD', 'manifest') + long.requests('GET', 'manifest'), 1);

    const absent = (name: string): Promise<Answer> =>
      get(`${edge.http}/v2/${name}/library/none/manifests/v1`);
    for (const name of ['long', 'long', 'short', 'short']) t.equal((await absent(name)).status, 404);
    t.equal(long.requests('GET', 'manifest', 'v1'), 1);
    t.equal(short.requests('GET', 'manifest', 'v1'), 2);

    const stall = Promise.withResolvers<void>();
    short.on({ kind: 'manifest' }, { kind: 'stall', until: stall.promise });
    t.match(cacheStatusOf(await tagOf('short')), /stale/, 'its own deadline is short');
    stall.resolve();
    await short.stop();
    t.match(cacheStatusOf(await tagOf('short')), /stale/);
    t.equal((await tagOf('strict')).status, 503, 'nothing stale where it is not wanted');
    await leavesNothing(t, edge);
  });
}

void t.test('each upstream trusts its own authorities and its own token hosts', async (t) => {
  const folders = [tempFolder(t), tempFolder(t)];
  const certificates = await Promise.all(folders.map((folder) => selfSigned(folder)));
  const [left, right] = await Promise.all(
    certificates.map(({ key, cert }) => central(t, one, { tls: { key, cert } })),
  );
  const [caOfLeft, caOfRight] = certificates.map(({ certFile }) => certFile);
  const issuers = await Promise.all(
    [0, 1].map(() => central(t, two, { host: '0.0.0.0', auth: { mode: 'token' } })),
  );
  for (const { door, port } of issuers) if (door !== undefined) door.realm = `http://127.0.0.2:${port}/token`;
  const urls = issuers.map(({ port }) => `http://127.0.0.1:${port}`);
  const upstreams = [
    { name: 'left', url: left?.url, ca: caOfLeft, default: true },
    { name: 'right', url: right?.url, ca: caOfRight },
    { name: 'wrong', url: right?.url, ca: caOfLeft },
    { name: 'sends', url: urls[0], authHosts: ['127.0.0.2'] },
    { name: 'keeps', url: urls[1] },
  ];
  await using edge = await startEdge({ config: { upstreams } });
  const statusOf = async (name: string): Promise<number> =>
    (await manifest(`${edge.http}/v2/${name}/library/app`)).status;
  t.equal(await statusOf('left'), 200);
  t.equal(await statusOf('right'), 200);
  t.equal(await statusOf('wrong'), 503);
  t.equal(await statusOf('sends'), 200);
  t.equal(await statusOf('keeps'), 503);
  t.equal(issuers[0]?.door?.tokenRequests(), 1);
  t.equal(issuers[1]?.door?.tokenRequests(), 0, 'a realm that is not among its authHosts is not asked');
  await leavesNothing(t, edge);
});

void t.test('the quota of pulls is on the metrics, and told when it is nearly used up', async (t) => {
  const hub = await central(t, one);
  hub.addImage('library/app', 'v2', two);
  const quota = (remaining: number) =>
    hub.on(
      { kind: 'manifest' },
      {
        kind: 'headers',
        headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': `${remaining};w=21600` },
      },
    );
  const upstreams = [
    { name: 'hub', url: hub.url, default: true },
    { name: 'other', url: (await central(t, three)).url },
  ];
  await using edge = await startEdge({ config: { upstreams } });
  const left = async (): Promise<number[]> => {
    const metrics = await edge.metrics();
    const of = (name: string): number =>
      metrics.value(`pierhead_upstream_quota_${name}`, { upstream: 'hub' });
    t.same(metrics.find('pierhead_upstream_quota_limit', { upstream: 'other' }), [], 'it has none');
    return [of('limit'), of('remaining')];
  };
  quota(10);
  await manifest(`${edge.http}/v2/library/app`);
  await manifest(`${edge.http}/v2/other/library/app`);
  t.same(await left(), [100, 10]);
  hub.heal();
  quota(9);
  await get(`${edge.http}/v2/library/app/manifests/v2`);
  t.same(await left(), [100, 9]);
  const warnings = () => edge.logs().filter(({ msg }) => msg === 'the quota of pulls is nearly used up');
  await eventually(() => warnings().length > 0);
  t.match(warnings(), [{ upstream: 'hub', limit: 100, remaining: 9 }]);
  await leavesNothing(t, edge);
});
