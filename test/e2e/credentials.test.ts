import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startCentral, type Central } from '../support/central.ts';
import { get, type Answer } from '../support/clients.ts';
import { CredentialProgram, HANGS } from '../support/credential-program.ts';
import { startEdge, type Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';
import { runProcess } from '../support/processes.ts';
import { cacheStatusOf, digestsIn, leavesNothing, pullAll, wholeOf } from './branch.ts';

const image = createImage({ layers: [20_000, 3000] });
const more = createImage({ layers: [4000], seed: 'more' });
const ADA = 'canary-ada-1';
const ADA_LATER = 'canary-ada-2';
const BOB = 'canary-bob';
const CANARY = /canary/;

interface Scene {
  readonly edge: Edge;
  readonly a: Central;
  readonly b: Central;
  readonly helper: CredentialProgram;
  readonly users: Record<string, string>;
}

/** Registry `a` takes passwords, `b` issues tokens; a helper knows `ada` of the one, a program `bob` of the other. */
async function scene(t: Test, workers = 1): Promise<Scene> {
  const users: Record<string, string> = { ada: ADA };
  const a = await startCentral({ auth: { mode: 'basic', users } });
  const b = await startCentral({ auth: { mode: 'token', users: { bob: BOB } } });
  for (const central of [a, b]) {
    t.teardown(() => central.stop());
    central.addImage('team/app', 'latest', image);
    central.addImage('team/app', 'more', more);
  }
  const helper = await CredentialProgram.create(t, '');
  await helper.gives({ ServerURL: 'a.test', Username: 'ada', Secret: ADA });
  const exec = await CredentialProgram.create(t, '', 'token-of-bob');
  await exec.gives({
    username: 'bob',
    password: BOB,
    expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
  });
  const upstreams = [
    { name: 'a.test', url: a.url, default: true, credentials: { helper: 'test', server: 'a.test' } },
    { name: 'b.test', url: b.url, credentials: { exec: [exec.file, '--json'] } },
  ];
  const env = { PATH: `${helper.folder}:${process.env['PATH']}` };
  const edge = await startEdge({ config: { upstreams, freshness: { tag: '1ms' } }, workers, env });
  t.teardown(() => edge.remove());
  return { edge, a, b, helper, users };
}

/** What the edge lets out: its log, its metrics, the arguments and environments of its processes, its disk. */
async function lettings(edge: Edge): Promise<string> {
  const { body } = await get(`${edge.admin}/metrics`, { keepBody: true });
  const pids = [...(await edge.rssOf()).keys()];
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1')));
  const data = join(edge.dir, 'data');
  const entries = await readdir(data, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const contents = await Promise.all(files.map((file) => readFile(file, 'latin1')));
  return [edge.output, body.toString(), ...lines, ...contents].join('\n');
}

for (const workers of [1, 2]) {
  void t.test(
    `each registry is shown its own credentials, and nobody else is, workers: ${workers}`,
    async (t) => {
      const { edge, a, b, helper, users } = await scene(t, workers);
      for (const prefix of ['a.test/team/app', 'b.test/team/app'])
        t.same(digestsIn(await pullAll(edge.http, prefix, 'latest', image)), wholeOf(image));
      const shown = (central: Central): (string | undefined)[] => [
        ...new Set(central.log.map(({ headers }) => headers.authorization?.replace(/^Bearer .*/, 'Bearer'))),
      ];
      const basic = (user: string, password: string): string =>
        `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
      t.same(shown(a), [undefined, basic('ada', ADA)]);
      t.same(shown(b), [undefined, basic('bob', BOB), 'Bearer']);
      t.same(await helper.runs(), [`${helper.file} get`]);
      t.equal(await helper.note('asked'), 'a.test');

      users['ada'] = ADA_LATER;
      await helper.gives({ ServerURL: 'a.test', Username: 'ada', Secret: ADA_LATER });
      t.same(
        digestsIn(await pullAll(edge.http, 'team/app', 'more', more)),
        wholeOf(more),
        'renewed by itself',
      );
      t.equal((await helper.runs()).length, 2);
      const metrics = await edge.metrics();
      t.equal(metrics.value('pierhead_credential_failures_total'), 0);
      t.equal(metrics.value('pierhead_upstream_token_duration_seconds_count', { upstream: 'b.test' }), 1);
      const all = await lettings(edge);
      t.notMatch(all, CANARY);
      t.notMatch(all, basic('ada', ADA));
      await leavesNothing(t, edge);
    },
  );
}

void t.test('a helper that prints garbage: what is cached goes on, what is new waits for it', async (t) => {
  const { edge, a, helper, users } = await scene(t);
  await pullAll(edge.http, 'team/app', 'latest', image);
  users['ada'] = ADA_LATER;
  await helper.does(`echo "no JSON, but ${ADA_LATER}"`);
  a.forget();

  const tag = await get(`${edge.http}/v2/team/app/manifests/latest`);
  t.equal(`sha256:${tag.sha256}`, image.digest);
  t.match(cacheStatusOf(tag), /stale/);
  const fresh = await get(`${edge.http}/v2/team/app/manifests/more`, { keepBody: true });
  t.equal(fresh.status, 503);
  t.match(fresh.body.toString(), /no valid credentials for the upstream registry/);
  const blob = await get(`${edge.http}/v2/team/app/blobs/${more.blobs[0]?.digest}`);
  t.equal(blob.status, 404);
  t.ok(
    a.log.every(({ headers, status }) => headers.authorization !== undefined || status === 0),
    'it is not asked as anybody',
  );
  t.equal(
    (await pullAll(edge.http, 'b.test/team/app', 'more', more)).every(({ status }) => status === 200),
    true,
  );

  const counted = await edge.metrics();
  t.ok(counted.value('pierhead_credential_failures_total', { upstream: 'a.test', kind: 'output' }) >= 1);
  t.ok(counted.value('pierhead_upstream_failures_total', { upstream: 'a.test', kind: 'credentials' }) >= 3);
  t.equal(counted.value('pierhead_upstream_up', { upstream: 'a.test' }), 1);
  await eventually(() => edge.logs().some(({ msg }) => msg === 'no usable credentials'));
  t.match(
    edge.logs().filter(({ msg }) => msg === 'no usable credentials'),
    [
      {
        upstream: 'a.test',
        kind: 'output',
        reason: 'credentials of a.test: docker-credential-test printed something that is not JSON',
      },
    ],
    'told once',
  );
  t.notMatch(await lettings(edge), CANARY);

  await helper.gives({ Username: 'ada', Secret: ADA_LATER });
  await eventually(async () => (await get(`${edge.http}/v2/team/app/manifests/more`)).status === 200, {
    what: 'the pause ends by itself',
  });
  await leavesNothing(t, edge);
});

void t.test('a helper that hangs holds up nobody else, and does not outlive the edge', async (t) => {
  const { edge, helper, users } = await scene(t);
  await pullAll(edge.http, 'team/app', 'latest', image);
  users['ada'] = ADA_LATER;
  await helper.does(HANGS);
  const leaving = new AbortController();
  const waiting = Array.from({ length: 20 }, () =>
    get(`${edge.http}/v2/team/app/manifests/more`, { signal: leaving.signal }).catch(() => undefined),
  );
  await eventually(async () => (await helper.note('child')).endsWith('\n'));

  const tag = await get(`${edge.http}/v2/team/app/manifests/latest`);
  t.match(cacheStatusOf(tag), /stale/, 'after its deadline');
  const blobs = await Promise.all(
    image.blobs.map(({ digest }) => get(`${edge.http}/v2/team/app/blobs/${digest}`)),
  );
  t.same(
    blobs.map(cacheStatusOf),
    blobs.map(() => 'pierhead; hit'),
  );
  t.ok((await pullAll(edge.http, 'b.test/team/app', 'more', more)).every(({ status }) => status === 200));
  t.equal((await helper.runs()).length, 2, 'one run, however many wait');
  leaving.abort();
  t.same(
    (await Promise.all(waiting)).filter((answer): answer is Answer => answer !== undefined),
    [],
    'nobody was answered yet',
  );
  const pids = [...(await edge.rssOf()).keys()];
  t.same(await edge.stop(), { code: 0, signal: null });
  // Whoever was killed in the edge's last moment is buried by init.
  await eventually(() => pids.every((pid) => !existsSync(`/proc/${pid}`)), { what: 'all are gone' });
  t.ok(pids.includes(Number(await helper.note('pid'))));
  t.ok(pids.includes(Number(await helper.note('child'))));
});

void t.test('check runs the programs, and says whose credentials they give', async (t) => {
  const { edge, helper } = await scene(t);
  const check = () =>
    runProcess(
      process.execPath,
      [
        join(import.meta.dirname, '../../src/main.ts'),
        'check',
        '--config',
        join(edge.dir, 'pierhead.yaml'),
        ...LISTENERS,
      ],
      {
        cwd: edge.dir,
        env: { ...process.env, NODE_OPTIONS: '', PATH: `${helper.folder}:${process.env['PATH']}` },
      },
    );
  const good = await check();
  t.match(
    good.stdout,
    /^ok +credentials a\.test +docker-credential-test gives those of ada; asked again after 300 s$/m,
  );
  t.match(
    good.stdout,
    /^ok +credentials b\.test +.*token-of-bob gives those of bob; they expire at 20\d\d-.*Z$/m,
  );
  t.match(good.stdout, /^ok +upstream a\.test /m);
  t.equal(good.code, 0, good.stdout + good.stderr);
  await helper.does(`echo ${ADA}; echo the vault is locked >&2; exit 1`);
  const bad = await check();
  t.match(
    bad.stdout,
    /^fail +credentials a\.test +.*docker-credential-test ended with code 1: the vault is locked: run it by hand/m,
  );
  t.equal(bad.code, 1);
  t.notMatch([good.stdout, good.stderr, bad.stdout, bad.stderr].join(), CANARY);
});

const LISTENERS = ['--http', '127.0.0.1:0', '--https', 'off', '--admin', 'off'];
