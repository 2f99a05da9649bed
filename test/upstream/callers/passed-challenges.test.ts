import t from 'tap';
import { fixture, repository } from '../fixture.ts';
import { UpstreamError } from '../../../src/upstream/upstream.ts';
import { passedChallenges } from '../../../src/upstream/callers/passed-challenges.ts';
import type { TargetRules } from '../../../src/upstream/targets.ts';
import { classifyAddress } from '../../../src/upstream/address-policy.ts';
import { reply, serve } from '../scripted-server.ts';

const RULES: TargetRules = {
  home: new URL('https://registry.example'),
  homeClass: () => 'public',
  classify: classifyAddress,
  authHosts: new Set(['auth.example']),
  redirectHosts: new Set(),
};

void t.test('made anew of what was understood', async (t) => {
  const cases: [string | string[] | undefined, string[]][] = [
    [undefined, []],
    ['Basic realm="A \\"name\\""', ['Basic realm="A \\"name\\""']],
    ['basic', ['Basic realm="registry"']],
    ['Basic realm="\u{e9}"', ['Basic realm="registry"']],
    [
      'Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push",error=insufficient_scope',
      [
        'Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push",error="insufficient_scope"',
      ],
    ],
    ['Bearer realm="https://u:p@auth.example/t",evil="x"', ['Bearer realm="https://auth.example/t"']],
    [
      ['Negotiate', 'Bearer realm="https://registry.example/t"', 'Basic realm=x'],
      ['Bearer realm="https://registry.example/t"', 'Basic realm="x"'],
    ],
    ['Bearer service="no realm"', []],
    ['Negotiate', []],
  ];
  for (const [header, expected] of cases) t.same(passedChallenges(header, RULES), expected, String(header));
});

void t.test('a realm to which the edge would not take its own password is not handed on', async (t) => {
  const realms = [
    'https://evil.example/token',
    'http://auth.example/token',
    'http://127.0.0.1/token',
    'https://169.254.169.254/latest',
    'https://[::ffff:7f00:1]/token',
    'not a URL',
  ];
  for (const realm of realms) {
    const bearer = `Bearer realm="${realm}"`;
    t.throws(() => passedChallenges(bearer, RULES), UpstreamError, realm);
    t.same(passedChallenges([bearer, 'Basic realm="x"'], RULES), ['Basic realm="x"'], 'others are');
  }
});

void t.test(
  'what a caller shows is shown as it is, and nothing of the edge before or after it',
  async (t) => {
    const server = await serve(t, (request, response) => {
      const { authorization } = request.headers;
      if (authorization === 'Bearer good') return reply(response, 200, {}, 'content');
      const realm = `${server.url}/token`;
      return reply(response, 401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` });
    });
    const { client } = fixture(t, server.url, { credentials: { username: 'robot', password: 'canary' } });
    const ask = async (authorization: string | undefined): Promise<unknown> => {
      const question = { method: 'GET', repository: repository(), path: 'blobs/x' } as const;
      const { status, challenges, body } = await client.ask({ ...question, showing: { authorization } });
      body.destroy();
      return { status, challenges };
    };
    const challenges = [`Bearer realm="${server.url}/token",service="s"`];
    t.same(await ask('Bearer good'), { status: 200, challenges: undefined });
    t.same(await ask('Bearer bad'), { status: 401, challenges });
    t.same(await ask(undefined), { status: 401, challenges });
    t.same(
      server.asked.map(({ url, headers }) => [url, headers.authorization]),
      ['Bearer good', 'Bearer bad', undefined].map((shown) => ['/v2/library/alpine/blobs/x', shown]),
    );
  },
);

void t.test("one caller's quota is not everybody's; a redirect may be the answer", async (t) => {
  const server = await serve(t, (request, response) => {
    if (request.headers.authorization === 'Bearer spent') reply(response, 429, { 'retry-after': '600' });
    else reply(response, 307, { location: 'https://storage.example/x' });
  });
  const { client } = fixture(t, server.url);
  const question = { method: 'HEAD', repository: repository(), path: 'blobs/x' } as const;
  const spent = client.ask({ ...question, attempts: 1, showing: { authorization: 'Bearer spent' } });
  await t.rejects(spent, UpstreamError);
  t.ok(client.available);
  const asked = await client.ask({
    ...question,
    redirects: 'answer',
    showing: { authorization: 'Bearer other' },
  });
  t.equal(asked.status, 307);
  asked.body.destroy();
});
