import t from 'tap';
import { startCentral, type Central } from './central.ts';
import { get } from './clients.ts';
import { FakeClock } from './fake-clock.ts';
import { createImage } from './images.ts';

const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

const SCOPE = 'repository:app:pull';

async function tokenOf(
  central: Central,
  scope: string,
  authorization?: string,
): Promise<{ status: number; token: string }> {
  const url = `${central.issuerUrl}?service=central&scope=${encodeURIComponent(scope)}`;
  const { status, body } = await get(url, {
    keepBody: true,
    headers: authorization === undefined ? {} : { authorization },
  });
  return { status, token: (JSON.parse(body.toString()) as { token: string }).token };
}

void t.test('tokens: challenge, issue, expire, revoke', async (t) => {
  const clock = new FakeClock();
  for (const issuer of ['same', 'other'] as const) {
    await using central = await startCentral({ auth: { mode: 'token', tokenTtlSeconds: 60, issuer }, clock });
    central.addImage('app', 'latest', createImage({ layers: [3000] }));
    const url = `${central.url}/v2/app/manifests/latest`;
    const ask = async (token: string): Promise<number> =>
      (await get(url, { headers: { authorization: `Bearer ${token}` } })).status;

    const refused = await get(url);
    t.equal(refused.status, 401);
    const challenge = `Bearer realm="${central.issuerUrl}",service="central",scope="${SCOPE}"`;
    t.equal(refused.headers['www-authenticate'], challenge);
    t.equal(new URL(central.issuerUrl).origin === central.url, issuer === 'same');
    t.equal(
      (await get(`${central.url}/v2/`)).headers['www-authenticate'],
      `Bearer realm="${central.issuerUrl}",service="central"`,
    );

    const { token } = await tokenOf(central, SCOPE);
    t.equal(await ask(token), 200);
    t.equal(await ask((await tokenOf(central, 'repository:other:pull')).token), 401);
    t.equal(central.door?.tokenRequests(SCOPE), 1);
    t.equal(central.door?.tokenRequests(), 2);
    await clock.advance(60_000);
    t.equal(await ask(token), 401, 'expired');
    const fresh = (await tokenOf(central, SCOPE)).token;
    t.equal(await ask(fresh), 200);
    central.door?.revokeAll();
    t.equal(await ask(fresh), 401, 'revoked');
    t.equal(central.find({ kind: 'manifest' }).at(-1)?.headers.authorization, `Bearer ${fresh}`);
  }
});

void t.test('tokens for users: a token holds what its user may have', async (t) => {
  await using central = await startCentral({
    auth: {
      mode: 'token',
      users: { ada: 'secret' },
      mayPull: (user, repository) => user === 'ada' || repository === 'open',
    },
  });
  const image = createImage({ layers: [3000] });
  for (const repository of ['app', 'open']) central.addImage(repository, 'latest', image);
  const ask = async (repository: string, token: string): Promise<number> =>
    (
      await get(`${central.url}/v2/${repository}/manifests/latest`, {
        headers: { authorization: `Bearer ${token}` },
      })
    ).status;
  const anonymous = await tokenOf(central, `${SCOPE} repository:open:pull`);
  t.equal(await ask('open', anonymous.token), 200);
  t.equal(await ask('app', anonymous.token), 401);
  t.equal(await ask('app', (await tokenOf(central, SCOPE, basic('ada', 'secret'))).token), 200);
  t.equal((await tokenOf(central, SCOPE, basic('ada', 'wrong'))).status, 401);
  central.on({ kind: 'token' }, { kind: 'status', status: 503, times: 1 });
  t.equal((await tokenOf(central, SCOPE)).status, 503, 'the issuer can fail too');
});

void t.test('basic', async (t) => {
  await using central = await startCentral({ auth: { mode: 'basic', users: { ada: 'se:cret' } } });
  const ask = (authorization?: string) =>
    get(`${central.url}/v2/`, { headers: authorization === undefined ? {} : { authorization } });
  t.equal((await ask()).headers['www-authenticate'], 'Basic realm="central"');
  t.equal((await ask(basic('ada', 'se:cret'))).status, 200);
  t.equal((await ask(basic('ada', 'secret'))).status, 401);
  t.equal((await ask(basic('toString', ''))).status, 401);
});
