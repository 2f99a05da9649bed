import { existsSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import t, { type Test } from 'tap';
import { ms, seconds } from '../../../src/lib/brand.ts';
import { createCredentialSource } from '../../../src/upstream/credentials/create-source.ts';
import type { CredentialSource } from '../../../src/upstream/credentials/credential-source.ts';
import { CredentialError } from '../../../src/upstream/upstream.ts';
import { CredentialProgram, HANGS } from '../../support/credential-program.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { rejectionOf } from '../fixture.ts';

const CANARY = 'canary-5d1c';
const SERVER = 'registry.test';
const TTL = seconds(300);

interface Scene {
  readonly source: CredentialSource;
  readonly program: CredentialProgram;
  readonly clock: FakeClock;
  /** Each failure that was told. */
  readonly failures: CredentialError[];
}

async function helper(t: Test, script: object | string): Promise<Scene> {
  const program = await CredentialProgram.create(t, typeof script === 'string' ? script : '');
  if (typeof script !== 'string') await program.gives(script);
  return sourceOf(t, program, { helper: 'test', server: SERVER });
}

function sourceOf(
  t: Test,
  program: CredentialProgram,
  options: { helper: string; server: string } | { exec: { file: string; args: string[] }; username?: string },
): Scene {
  const clock = new FakeClock();
  const failures: CredentialError[] = [];
  const source = createCredentialSource(
    'up',
    { ...options, env: program.env, ttl: TTL },
    { clock, onFailure: (error) => failures.push(error) },
  );
  t.teardown(() => source.close());
  return { source, program, clock, failures };
}

const ADA = { ServerURL: SERVER, Username: 'ada', Secret: CANARY };

async function failureOf({ source, failures }: Scene): Promise<CredentialError> {
  const error = await rejectionOf(source.get());
  if (!(error instanceof CredentialError)) throw new Error('it gave credentials', { cause: error });
  t.ok(failures.includes(error), 'it was told');
  return error;
}

void t.test('docker\'s protocol: "get", the server on standard input, JSON on standard output', async (t) => {
  process.env['OF_THE_EDGE'] = CANARY;
  t.teardown(() => delete process.env['OF_THE_EDGE']);
  const { source, program } = await helper(t, ADA);
  t.same(await source.get(), { username: 'ada', password: CANARY });
  t.same(await program.runs(), [`${program.file} get`]);
  t.equal(await program.note('asked'), SERVER);
  // tap adds variables of its own to every process that is started.
  const environment = await program.note('env');
  t.match(environment, `PATH=${program.env.PATH}`);
  t.notMatch(environment, CANARY, 'the environment of the edge stays with the edge');
  t.equal(source.identity, 'helper test registry.test');
});

void t.test('an identity token', async (t) => {
  const { source } = await helper(t, { ServerURL: SERVER, Username: '<token>', Secret: CANARY });
  t.same(await source.get(), { identityToken: CANARY });
});

void t.test('one run, however many ask; remembered, and renewed behind the scenes', async (t) => {
  const { source, program, clock } = await helper(t, ADA);
  await Promise.all(Array.from({ length: 50 }, () => source.get()));
  await clock.advance(TTL * 0.7);
  await source.get();
  t.equal((await program.runs()).length, 1);

  await program.gives({ ...ADA, Secret: 'second' });
  await clock.advance(TTL * 0.06);
  t.match(await source.get(), { password: CANARY }, 'nobody waits for the renewal');
  await eventually(async () => {
    const credentials = await source.get();
    return credentials !== undefined && 'password' in credentials && credentials.password === 'second';
  });
  t.equal((await program.runs()).length, 2);

  await program.gives({ ...ADA, Secret: 'third' });
  await clock.advance(TTL);
  t.match(await source.get(), { password: 'third' }, 'what has expired is not used');
});

void t.test('a renewal that fails costs nothing until the old ones expire', async (t) => {
  const scene = await helper(t, ADA);
  const { source, program, clock, failures } = scene;
  await source.get();
  await program.does('exit 3');
  await clock.advance(TTL * 0.8);
  t.match(await source.get(), { password: CANARY });
  await eventually(() => failures.length === 1);
  t.match(await source.get(), { password: CANARY });
  await clock.advance(TTL * 0.3);
  t.equal((await failureOf(scene)).failure, 'exit');
});

void t.test("JSON of a program of one's own, with its expiry", async (t) => {
  const program = await CredentialProgram.create(t, '', 'ecr-token');
  const scene = sourceOf(t, program, { exec: { file: program.file, args: ['--region', 'x'] } });
  const { source, clock } = scene;
  const until = (life: number): string => new Date(clock.now() + life).toISOString();
  await program.gives({ username: 'AWS', password: CANARY, expiresAt: until(1_000_000) });
  t.same(await source.get(), { username: 'AWS', password: CANARY, expiresAt: ms(clock.now() + 1_000_000) });
  t.same(await program.runs(), [`${program.file} --region x`]);
  t.equal(await program.note('asked'), '');
  await clock.advance(TTL * 2);
  await source.get();
  t.equal((await program.runs()).length, 1, 'it says itself how long it lives');

  await program.gives({ username: 'AWS', password: 'second', expiresAt: until(1_000_000) });
  // The machine slept: the monotonic clock did not go on.
  clock.jumpWall(clock.now() + 500_000);
  t.match(await source.get(), { password: 'second' });

  await program.gives({ username: 'AWS', password: CANARY, expiresAt: until(0) });
  clock.jumpWall(clock.now() + 2_000_000);
  const error = await failureOf(scene);
  t.equal(error.failure, 'expired');
  t.match(error.message, /up: .*ecr-token gave credentials that have expired/);
});

void t.test('a program that prints the password alone', async (t) => {
  const program = await CredentialProgram.create(t, `echo ${CANARY}`, 'print-token');
  const exec = { file: 'print-token', args: [] };
  const { source } = sourceOf(t, program, { exec, username: 'oauth2accesstoken' });
  t.same(await source.get(), { username: 'oauth2accesstoken', password: CANARY });
});

void t.test('what goes wrong has a name, and no message holds what was printed', async (t) => {
  const print = (document: unknown): string => `cat <<'END'\n${JSON.stringify(document)}\nEND`;
  const cases: [script: string, failure: string, message: RegExp][] = [
    [
      `echo ${CANARY}; echo no network >&2; exit 4`,
      'exit',
      /up: docker-credential-test ended with code 4: no network$/,
    ],
    [`echo ${CANARY}; kill -9 $$`, 'exit', /was ended by SIGKILL/],
    ['printf "\\033[2Jred\\n%0500d" 1 >&2; exit 1', 'exit', /code 1: \[2Jred$/],
    ['printf "%01000d" 1 >&2; exit 1', 'exit', /code 1: 0{200}$/],
    [`echo ${CANARY}`, 'output', /printed something that is not JSON/],
    ['', 'output', /not JSON/],
    [print([CANARY]), 'output', /not an object/],
    [print(null), 'output', /not an object/],
    [print({ Username: 'ada' }), 'output', /no Secret/],
    [print({ Secret: CANARY }), 'output', /no Username/],
    [print({ Username: `a:${CANARY}`, Secret: CANARY }), 'output', /colon/],
    [print({ Username: 'ada', Secret: `${CANARY}\nx` }), 'output', /line breaks/],
    [print({ Username: 'ada', Secret: [CANARY] }), 'output', /no Secret/],
    [`while :; do echo ${CANARY}; done`, 'output', /more than 65536 bytes/],
    [
      'echo credentials not found in native keychain; exit 1',
      'absent',
      /no credentials for registry\.test: log in/,
    ],
  ];
  for (const [script, failure, message] of cases) {
    const error = await failureOf(await helper(t, script));
    t.equal(error.failure, failure, script);
    t.equal(error.kind, 'credentials');
    t.match(error.message, message);
    t.notMatch(`${error.message}${error.stack}${String(error.cause)}`, CANARY, script);
  }
  const unfit = await helper(t, ADA);
  await chmod(unfit.program.file, 0o600);
  t.match(await failureOf(unfit), { failure: 'missing', message: /may not be run by this user/ });
  const program = await CredentialProgram.create(t, '');
  const absent = sourceOf(t, program, { helper: 'nowhere', server: SERVER });
  t.match(await failureOf(absent), { failure: 'missing', message: /docker-credential-nowhere is not there/ });
});

void t.test('times that are no RFC 3339', async (t) => {
  const program = await CredentialProgram.create(t, '', 'own');
  for (const expiresAt of [
    'tomorrow',
    4_102_444_800,
    '2099-01-01',
    '2099-13-01T00:00:00Z',
    '2099-01-01T00:00:00',
  ]) {
    await program.gives({ username: 'a', password: CANARY, expiresAt });
    const scene = sourceOf(t, program, { exec: { file: program.file, args: [] } });
    t.match(await failureOf(scene), { failure: 'output', message: /expiresAt that is no RFC 3339 time/ });
  }
  for (const expiresAt of [
    '2099-01-01T00:00:00Z',
    '2099-01-01t00:00:00.123456789z',
    '2099-01-01T02:00:00+02:00',
    null,
  ]) {
    await program.gives({ username: 'a', password: CANARY, expiresAt });
    const { source } = sourceOf(t, program, { exec: { file: program.file, args: [] } });
    t.match(await source.get(), { password: CANARY });
  }
});

void t.test('a program that hangs is killed with all that it started', async (t) => {
  const scene = await helper(t, HANGS);
  const { program, clock } = scene;
  const error = failureOf(scene);
  const pids = async (): Promise<string[]> => [await program.note('pid'), await program.note('child')];
  await eventually(async () => (await pids()).every((pid) => pid.endsWith('\n')));
  const started = (await pids()).map((pid) => pid.trim());
  await clock.advance(9999);
  t.ok(existsSync(`/proc/${started[0]}`));
  await clock.advance(1);
  t.match(await error, { failure: 'timeout', message: /docker-credential-test did not end within 10 s/ });
  await eventually(() => started.every((pid) => isGone(pid)));
});

void t.test('what a program leaves behind is killed when it ends', async (t) => {
  const { source, program } = await helper(t, '');
  await program.does(`sleep 1000 & echo $! > "$here/child"; echo '${JSON.stringify(ADA)}'`);
  t.match(await source.get(), { username: 'ada' });
  const child = (await program.note('child')).trim();
  await eventually(() => isGone(child));
});

void t.test('after a failure there is a pause, and it grows', async (t) => {
  const scene = await helper(t, 'exit 3');
  const { source, program, clock, failures } = scene;
  for (const pause of [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]) {
    const before = (await program.runs()).length;
    await Promise.all([failureOf(scene), failureOf(scene)]);
    t.equal((await program.runs()).length, before + 1);
    await clock.advance(pause - 1);
    await failureOf(scene);
    t.equal((await program.runs()).length, before + 1, `nobody runs it for ${pause} ms`);
    await clock.advance(1);
  }
  t.equal(failures.length, 8, 'each run is told once');
  await program.gives(ADA);
  t.match(await source.get(), { username: 'ada' });
  await program.does('exit 3');
  await clock.advance(TTL);
  await failureOf(scene);
  await clock.advance(1000);
  await program.gives(ADA);
  t.match(await source.get(), { username: 'ada' }, 'the pause is short again');
});

void t.test('what is refused is renewed at once, and then not again for a while', async (t) => {
  const { source, program, clock } = await helper(t, ADA);
  const old = await source.get();
  if (old === undefined) throw new Error('no credentials');
  await program.gives({ ...ADA, Secret: 'second' });
  const renewed = await Promise.all(Array.from({ length: 50 }, () => source.renew(old)));
  t.ok(renewed.every((one) => one !== undefined && 'password' in one && one.password === 'second'));
  t.equal((await program.runs()).length, 2);
  t.match(await source.renew(old), { password: 'second' }, 'a late one gets what is known');
  const second = await source.get();
  if (second === undefined) throw new Error('no credentials');
  await program.gives({ ...ADA, Secret: 'third' });
  t.equal(await source.renew(second), undefined);
  t.equal((await program.runs()).length, 2);
  await clock.advance(30_000);
  t.match(await source.renew(second), { password: 'third' });
  await clock.advance(30_000);
  const third = await source.get();
  t.equal(third && (await source.renew(third)), undefined, 'the same again are no others');
  t.equal((await program.runs()).length, 4);
});

void t.test('refused ones are not used again when there are no others', async (t) => {
  const scene = await helper(t, ADA);
  const { source, program } = scene;
  const old = await source.get();
  await program.does('exit 3');
  t.match(old && (await rejectionOf(source.renew(old))), { failure: 'exit' });
  t.equal((await failureOf(scene)).failure, 'exit');
});

void t.test('a program is not wanted any more', async (t) => {
  const { source, program, failures } = await helper(t, HANGS);
  const asked = rejectionOf(source.get());
  await eventually(async () => (await program.note('child')).endsWith('\n'));
  source.close();
  t.match(await asked, { kind: 'suspended' });
  const pid = (await program.note('pid')).trim();
  await eventually(() => isGone(pid));
  t.match(await rejectionOf(source.get()), { kind: 'suspended' });
  t.same(failures, []);
});

function isGone(pid: string): boolean {
  return !existsSync(`/proc/${pid}`);
}
