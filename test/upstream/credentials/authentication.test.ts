import t, { type Test } from 'tap';
import { systemClock } from '../../../src/lib/clock.ts';
import { seconds } from '../../../src/lib/brand.ts';
import type { UpstreamClientOptions } from '../../../src/upstream/upstream-client.ts';
import { startCentral, type Central } from '../../support/central.ts';
import { createImage } from '../../support/images.ts';
import { CredentialProgram } from '../../support/credential-program.ts';
import { asked, failureOf, fixture, MemoryTokenStore, question, repository } from '../fixture.ts';
import { reply, serve } from '../scripted-server.ts';

const OLD = 'canary-old';
const NEW = 'canary-new';
const image = createImage({ layers: [3000] });

interface Scene {
  readonly central: Central;
  readonly program: CredentialProgram;
  readonly users: Record<string, string>;
  readonly options: Partial<UpstreamClientOptions>;
  /** The registry and the helper go over to another password. */
  readonly change: (password: string) => Promise<void>;
}

async function scene(t: Test, mode: 'basic' | 'token'): Promise<Scene> {
  const users: Record<string, string> = { ada: OLD };
  const central = await startCentral({ auth: { mode, users } });
  t.teardown(() => central.stop());
  central.addImage('library/alpine', 'latest', image);
  const program = await CredentialProgram.create(t, '');
  await program.gives({ Username: 'ada', Secret: OLD });
  const credentials = { helper: 'test', server: 'central.test', env: program.env, ttl: seconds(3600) };
  const change = async (password: string): Promise<void> => {
    users['ada'] = password;
    central.door?.revokeAll();
    await program.gives({ Username: 'ada', Secret: password });
  };
  return { central, program, users, options: { credentials }, change };
}

for (const mode of ['basic', 'token'] as const) {
  void t.test(`${mode}: a password that changes is asked for again at once, and once`, async (t) => {
    const { central, program, options, change } = await scene(t, mode);
    const { client, events } = fixture(t, central.url, options);
    t.equal((await asked(client)).status, 200);
    t.equal((await program.runs()).length, 1);
    await change(NEW);
    const answers = await Promise.all(Array.from({ length: 50 }, () => asked(client)));
    t.ok(answers.every(({ status }) => status === 200));
    t.equal((await program.runs()).length, 2);
    t.notMatch(events.join(), /credentials/);
  });

  void t.test(`${mode}: a password that is wrong is the registry's word, and told`, async (t) => {
    const { central, program, options, users } = await scene(t, mode);
    users['ada'] = 'other';
    const { client, events } = fixture(t, central.url, options);
    for (let count = 0; count < 3; count += 1) t.equal((await asked(client)).status, 401);
    t.equal((await program.runs()).length, 2, 'it is asked once more, and not again and again');
    t.equal(events.filter((event) => event === 'credentials refused').length, 3);
  });

  void t.test(
    `${mode}: without credentials the upstream is not asked as anybody, nor more than once`,
    async (t) => {
      const { central, program, options } = await scene(t, mode);
      await program.does(`echo ${OLD}; exit 2`);
      const { client, events } = fixture(t, central.url, options);
      const error = await failureOf(client.ask(question({ attempts: 3 })));
      t.match(error, { kind: 'credentials', failure: 'exit' });
      t.match(error.message, /^credentials of up: docker-credential-test ended with code 2$/);
      t.notMatch(`${error.stack}`, OLD);
      t.equal(central.requests('GET', 'manifest'), 1, 'for the challenge');
      t.equal(central.requests('GET', 'token'), 0);
      t.same(
        events.filter((event) => event !== 'token failed'),
        ['credentials exit', 'failed credentials'],
      );
      t.ok(client.available, 'the registry itself is well');
    },
  );
}

void t.test('tokens outlive renewals and restarts', async (t) => {
  const { central, options, program } = await scene(t, 'token');
  const store = new MemoryTokenStore();
  const first = fixture(t, central.url, options, { tokens: store, clock: systemClock });
  t.equal((await asked(first.client)).status, 200);
  await first.client.close();
  await program.gives({ Username: 'ada', Secret: NEW });
  const second = fixture(t, central.url, options, { tokens: store, clock: systemClock });
  t.equal((await asked(second.client)).status, 200);
  t.equal(central.requests('GET', 'token'), 1);
  t.equal((await program.runs()).length, 1);
});

void t.test('a realm elsewhere: the credentials are not even looked up', async (t) => {
  const { program, options } = await scene(t, 'token');
  const server = await serve(t, (_, response) =>
    reply(response, 401, { 'www-authenticate': 'Bearer realm="http://127.0.0.2:9/token"' }),
  );
  const { client } = fixture(t, server.url, options);
  t.match(await failureOf(client.ask(question())), { kind: 'protocol' });
  t.same(await program.runs(), []);
});

void t.test("an identity token goes to the token service in OAuth2's way", async (t) => {
  const { program, options } = await scene(t, 'token');
  const taken = new Set([OLD]);
  const forms: URLSearchParams[] = [];
  const server = await serve(t, (request, response) => {
    if (request.method === 'POST') {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const form = new URLSearchParams(Buffer.concat(chunks).toString());
        forms.push(form);
        const right = taken.has(form.get('refresh_token') ?? '');
        if (right) reply(response, 200, {}, '{"access_token":"t1","expires_in":60}');
        else reply(response, 400, {}, '{"error":"invalid_grant"}');
      });
    } else if (request.headers.authorization === 'Bearer t1') reply(response, 200, {}, 'content');
    else reply(response, 401, { 'www-authenticate': `Bearer realm="${server.url}/token",service="s"` });
  });
  await program.gives({ Username: '<token>', Secret: OLD });
  const { client, events } = fixture(t, server.url, options);
  t.match(await asked(client), { status: 200, body: 'content' });
  t.same(Object.fromEntries(forms[0] ?? []), {
    service: 's',
    scope: 'repository:library/alpine:pull',
    grant_type: 'refresh_token',
    refresh_token: OLD,
    client_id: 'pierhead',
  });
  t.same(
    server.asked.map(({ method, url, headers }) => [method, url, headers.authorization]),
    [
      ['GET', '/v2/library/alpine/manifests/latest', undefined],
      ['POST', '/token', undefined],
      ['GET', '/v2/library/alpine/manifests/latest', 'Bearer t1'],
    ],
  );
  taken.clear();
  taken.add(NEW);
  await program.gives({ Username: '<token>', Secret: NEW });
  t.equal((await asked(client, { repository: repository('library/other') })).status, 200);
  t.equal((await program.runs()).length, 2);
  t.notMatch(events.join(), /credentials/);
});

void t.test('an identity token is no password', async (t) => {
  const { central, program, options } = await scene(t, 'basic');
  await program.gives({ Username: '<token>', Secret: OLD });
  const { client, events } = fixture(t, central.url, options);
  const error = await failureOf(client.ask(question()));
  t.match(error, { kind: 'credentials', failure: 'unusable' });
  t.match(error.message, /wants a user name and a password, and they are an identity token/);
  t.notMatch(error.message, OLD);
  t.same(events, ['credentials unusable', 'failed credentials']);
});

void t.test('one source for all URLs of an upstream', async (t) => {
  const { central, program, options } = await scene(t, 'token');
  const other = await startCentral({ auth: { mode: 'basic', users: { ada: OLD } } });
  t.teardown(() => other.stop());
  other.addImage('library/alpine', 'latest', image);
  const { client } = fixture(t, [central.url, other.url], options);
  t.equal((await asked(client)).status, 200);
  await central.stop();
  t.equal((await asked(client, { attempts: 3 })).status, 200);
  t.equal(other.requests('GET', 'manifest'), 2);
  t.equal((await program.runs()).length, 1);
});

void t.test('what the token service took its time for', async (t) => {
  const { central, options } = await scene(t, 'token');
  const answered: number[] = [];
  const { client } = fixture(t, central.url, options, {
    events: { tokenAnswered: (_, took) => answered.push(took) },
  });
  await asked(client);
  t.same(answered, [0], 'once, by a clock that stands still');
});
