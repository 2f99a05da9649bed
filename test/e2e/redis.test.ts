import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pierhead } from '../cli/pierhead.ts';
import { startCentral, type Central } from '../support/central.ts';
import type { Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { tempFolder } from '../support/temp.ts';
import { ALWAYS_ASKS, digestsIn, leavesNothing, pullAll, startBranch, wholeOf } from './branch.ts';

const skip = missing('redis-server');
const PASSWORD = 'canary-upstream-4711';
const REDIS_PASSWORD = 'canary-redis-4711';
const SITE_SECRET = 'canary-secret-4711-0123456789abcdef';
/** What an edge has to be allowed, and no more. */
const ACL = `user edge on >${REDIS_PASSWORD} resetchannels ~pierhead:* &pierhead:site -@all +ping +info +getrange +set +del +multi +exec +incrby +pttl +publish +subscribe`;

const image = createImage({ layers: [60_000, 70_000] });

interface Secrets {
  readonly upstream: string;
  readonly redis: string;
  readonly site: string;
}

async function secretFiles(t: Test): Promise<Secrets> {
  const dir = tempFolder(t, 'secrets');
  const write = async (name: string, text: string): Promise<string> => {
    await writeFile(join(dir, name), `${text}\n`, { mode: 0o600 });
    return join(dir, name);
  };
  return {
    upstream: await write('upstream', PASSWORD),
    redis: await write('redis', REDIS_PASSWORD),
    site: await write('site', SITE_SECRET),
  };
}

async function startSiteEdge(
  t: Test,
  central: Central,
  redis: RedisServer,
  freshness: object = {},
): Promise<Edge> {
  const files = await secretFiles(t);
  const edge = await startBranch(central, {
    workers: 2,
    config: {
      upstreams: [
        {
          name: 'central',
          url: central.url,
          default: true,
          credentials: { username: 'robot', password: { file: files.upstream } },
        },
      ],
      redis: {
        url: redis.url,
        username: 'edge',
        password: { file: files.redis },
        secret: { file: files.site },
      },
      freshness,
      log: { level: 'trace' },
    },
  });
  t.teardown(() => edge.remove());
  return edge;
}

async function redisUp(edge: Edge): Promise<void> {
  await eventually(async () => (await edge.metrics()).value('pierhead_redis_up') === 1, {
    what: 'the edge reaches Redis',
  });
}

/** Everything that `edge` has to tell the others is there. */
async function shared(redis: RedisServer): Promise<void> {
  await eventually(async () => {
    const keys = await redis.keys();
    return ['manifests', 'tags', 'tokens'].every((table) =>
      keys.some((key) => key.startsWith(`pierhead:${table}:`)),
    );
  });
}

async function pullsWhole(t: Test, edge: Edge, what: string): Promise<void> {
  const answers = await pullAll(edge.http, 'team/app', 'v1', image);
  t.same(
    answers.map(({ status, complete }) => [status, complete]),
    answers.map(() => [200, true]),
    `${what}: every answer is whole`,
  );
  t.same(digestsIn(answers), wholeOf(image), `${what}: and right`);
}

void t.test('what one edge knows, the next one does not ask the upstream', { skip }, async (t) => {
  await using central = await startCentral({
    auth: { mode: 'token', tokenTtlSeconds: 600, users: { robot: PASSWORD } },
  });
  central.addImage('team/app', 'v1', image);
  await using redis = await startRedis({ password: 'root', acl: [ACL] });
  const one = await startSiteEdge(t, central, redis);
  await redisUp(one);
  await pullsWhole(t, one, 'the first edge');
  await shared(redis);
  t.equal(central.door?.tokenRequests('repository:team/app:pull'), 1);
  const questions = central.requests(undefined, 'manifest');

  const two = await startSiteEdge(t, central, redis);
  await redisUp(two);
  await pullsWhole(t, two, 'the second edge');
  t.equal(central.requests(undefined, 'manifest'), questions, 'no question for tag or manifest');
  t.equal(central.door?.tokenRequests('repository:team/app:pull'), 1, 'nor for a token');

  await redis.kill();
  await central.stop();
  await pullsWhole(t, two, 'without Redis and without the central, the second edge');

  await redis.start();
  await central.start();
  await redisUp(one);
  await leavesNothing(t, one);
  await leavesNothing(t, two);
});

void t.test('whatever Redis does, pulls go on', { skip }, async (t) => {
  await using central = await startCentral({
    auth: { mode: 'token', tokenTtlSeconds: 600, users: { robot: PASSWORD } },
  });
  central.addImage('team/app', 'v1', image);
  await using redis = await startRedis({ password: 'root', acl: [ACL] });
  await using other = await startRedis();
  const edge = await startSiteEdge(t, central, redis, ALWAYS_ASKS);
  await redisUp(edge);
  await pullsWhole(t, edge, 'at first');
  await shared(redis);

  const faults: [name: string, begin: () => unknown, end: () => unknown][] = [
    [
      'full',
      () => redis.command('CONFIG', 'SET', 'maxmemory', 1),
      () => redis.command('CONFIG', 'SET', 'maxmemory', 0),
    ],
    [
      'read-only',
      () => redis.command('REPLICAOF', other.host, other.port),
      () => redis.command('REPLICAOF', 'NO', 'ONE'),
    ],
    ['flushed', () => redis.command('FLUSHALL'), () => undefined],
    ['stopped', () => redis.pause(), () => redis.resume()],
    ['killed', () => redis.kill(), () => redis.start()],
  ];
  for (const [name, begin, end] of faults) {
    await t.test(name, async (t) => {
      await begin();
      // A new tag each time, so that the upstream, the disk and Redis are all asked.
      central.addImage('team/app', `v-${name}`, image);
      await pullsWhole(t, edge, name);
      const [fresh] = await pullAll(edge.http, 'team/app', `v-${name}`, image);
      t.equal(fresh?.status, 200, 'and of what nobody pulled before');
      await end();
      await redisUp(edge);
      await pullsWhole(t, edge, `after ${name}`);
    });
  }

  const failures = (await edge.metrics()).find('pierhead_redis_failures_total');
  const kinds = new Set(failures.map(({ labels }) => labels['kind']));
  for (const kind of ['full', 'readonly', 'timeout', 'connection'])
    t.ok(kinds.has(kind), `${kind} was counted`);
  const dump = (await redis.dump()).toString('latin1');
  t.match(dump, 'pierhead:', 'there is something in it');
  const bearers = central.log
    .map(({ headers }) => headers.authorization ?? '')
    .filter((value) => value.startsWith('Bearer '))
    .map((value) => value.slice('Bearer '.length));
  t.ok(bearers.length > 0);
  const samples = JSON.stringify((await edge.metrics()).samples);
  for (const secret of [PASSWORD, REDIS_PASSWORD, SITE_SECRET, 'team/app', ...bearers]) {
    t.notOk(dump.includes(secret), 'not in clear in Redis');
    if (secret !== 'team/app') t.notOk(`${edge.output}${samples}`.includes(secret), 'nor in log and metrics');
  }
  await leavesNothing(t, edge);
});

void t.test('what has no room here stays with the site; what is purged leaves it', { skip }, async (t) => {
  await using central = await startCentral();
  const images = new Map(['a', 'b'].map((seed) => [seed, createImage({ layers: [700_000], seed })]));
  for (const [name, image] of images) central.addImage(`team/${name}`, 'v1', image);
  await using redis = await startRedis();
  const countOf = async (table: string): Promise<number> =>
    (await redis.keys()).filter((key) => key.startsWith(`pierhead:${table}:`)).length;
  const edge = await startBranch(central, {
    workers: 1,
    config: {
      storage: { maxSize: '1MiB' },
      redis: { url: redis.url, secret: SITE_SECRET },
    },
  });
  t.teardown(() => edge.remove());
  await redisUp(edge);
  for (const [name, image] of images) await pullAll(edge.http, `team/${name}`, 'v1', image);
  await eventually(
    async () => (await edge.metrics()).value('pierhead_evictions_total', { kind: 'manifest' }) > 0,
  );
  t.equal(await countOf('manifests'), 2, 'evicted here, kept there');

  const files = ['--config', join(edge.dir, 'pierhead.yaml'), '--data', join(edge.dir, 'data')];
  t.match(await pierhead(['cache', 'purge', 'team/b:v1', ...files], edge.dir), {
    code: 0,
    stdout: /1 tags, 1 manifests/,
  });
  t.equal(await countOf('manifests'), 1, 'purged while the edge runs');
  t.equal(await countOf('tags'), 1);

  await pullAll(edge.http, 'team/b', 'v1', images.get('b') ?? image);
  await eventually(async () => (await countOf('manifests')) === 2 && (await countOf('tags')) === 2);
  await leavesNothing(t, edge);
  t.match(await pierhead(['cache', 'purge', 'team/b:v1', ...files], edge.dir), {
    code: 0,
    stdout: /1 tags, 1 manifests/,
  });
  t.equal(await countOf('manifests'), 2, 'nobody has told it yet');
  await edge.restart();
  await eventually(async () => (await countOf('manifests')) === 1 && (await countOf('tags')) === 1, {
    timeoutMs: 20_000,
    what: 'the edge tells it once it runs again',
  });
  await leavesNothing(t, edge);
});
