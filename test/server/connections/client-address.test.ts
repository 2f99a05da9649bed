import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { get, type Answer } from '../../support/clients.ts';
import { startEdge, type Edge } from '../../support/edge.ts';
import { eventually } from '../../support/eventually.ts';
import { reconfigure } from '../fixture.ts';

/** Where the proxies are. */
const PROXY = '127.0.0.7';
const ACCESS = {
  allow: ['127.0.0.0/8', '192.0.2.0/24'],
  deny: ['192.0.2.66', '192.0.2.67', '192.0.2.68'],
  trustedProxies: [PROXY, '127.0.0.8'],
};

type Asked = readonly [headers: Record<string, string>, status: number, address: string];

async function ask(edge: Edge, headers: Record<string, string>, localAddress = PROXY): Promise<Answer> {
  return await get(`${edge.http}/v2/`, { headers, localAddress, keepBody: true });
}

/** As the log has it, of the request with that id. */
async function loggedAddress(edge: Edge, answer: Answer): Promise<unknown> {
  const id = answer.headers['x-request-id'];
  return (await eventually(() => edge.logs().find(({ requestId }) => requestId === id)))['address'];
}

void t.test('a trusted proxy names the client, and the lists hold for whom it names', async (t) => {
  await using edge = await startEdge({ config: { access: ACCESS, audit: { to: 'audit.log' } } });
  const cases: readonly Asked[] = [
    [{ 'X-Forwarded-For': '192.0.2.1' }, 200, '192.0.2.1'],
    [{ 'X-Forwarded-For': '192.0.2.66, 192.0.2.1' }, 200, '192.0.2.1'],
    [{ 'X-Forwarded-For': '192.0.2.1, 192.0.2.66' }, 403, '192.0.2.66'],
    [{ 'X-Forwarded-For': '192.0.2.1, 127.0.0.8' }, 200, '192.0.2.1'],
    [{ 'X-Forwarded-For': '::ffff:192.0.2.67' }, 403, '192.0.2.67'],
    [{ 'X-Forwarded-For': '203.0.113.9' }, 403, '203.0.113.9'],
    [{ 'X-Forwarded-For': 'unknown' }, 403, PROXY],
    [{ Forwarded: 'for=192.0.2.1;proto=https' }, 200, '192.0.2.1'],
    [{ Forwarded: 'for=192.0.2.1, for=192.0.2.68' }, 403, '192.0.2.68'],
    [{ Forwarded: 'for="192.0.2.1' }, 403, PROXY],
    [{ Forwarded: 'for=192.0.2.1', 'X-Forwarded-For': '192.0.2.2' }, 403, PROXY],
    [{ Forwarded: 'for=192.0.2.1', 'X-Forwarded-For': '192.0.2.1' }, 200, '192.0.2.1'],
    [{}, 200, PROXY],
  ];
  for (const [headers, status, address] of cases) {
    const answer = await ask(edge, headers);
    t.equal(answer.status, status, JSON.stringify(headers));
    t.equal(await loggedAddress(edge, answer), address);
    if (status === 403) t.match(answer.body.toString(), '"DENIED"');
  }
  const spoofed = await ask(edge, { 'X-Forwarded-For': '192.0.2.66', Forwarded: 'for="' }, '127.0.0.1');
  t.equal(spoofed.status, 200, 'nobody else is listened to');
  t.equal(await loggedAddress(edge, spoofed), '127.0.0.1');
  const record = await eventually(async () => {
    const text = await readFile(join(edge.dir, 'audit.log'), 'utf8');
    return text.includes('203.0.113.9') && text;
  });
  t.match(record, /"ip":"203\.0\.113\.9".*"decision":"deny","reason":"access\.allow and access\.deny"/);

  await reconfigure(edge, { access: { ...ACCESS, trustedProxies: [] } });
  const answer = await ask(edge, { 'X-Forwarded-For': '192.0.2.66' });
  t.equal(answer.status, 200, 'after a reload this one is trusted no more');
  t.equal(await loggedAddress(edge, answer), PROXY);
});

void t.test('lists of a listener stand in place of the common ones, and are reloaded', async (t) => {
  const listeners = {
    https: { allow: ['127.0.0.2'] },
    http: { allow: ['127.0.0.0/8'], deny: ['127.0.0.2'] },
  };
  const access = { allow: ['10.0.0.0/8'], listeners };
  await using edge = await startEdge({ workers: 2, config: { access } });
  const ca = await readFile(join(edge.dir, 'certs/ca.crt'), 'utf8');
  const status = async (url: string, localAddress: string): Promise<number> =>
    await get(`${url}/v2/`, { localAddress, ...(url === edge.https && { ca }) }).then(
      ({ status }) => status,
      () => 0,
    );
  t.equal(await status(edge.https, '127.0.0.2'), 200);
  t.equal(await status(edge.https, '127.0.0.1'), 0);
  t.equal(await status(edge.http, '127.0.0.2'), 0);
  t.equal(await status(edge.http, '127.0.0.1'), 200);
  const scraped = async (localAddress: string): Promise<number> =>
    await get(`${edge.admin}/healthz`, { localAddress }).then(
      ({ status }) => status,
      () => 0,
    );
  t.equal(await scraped('127.0.0.1'), 200, 'this host may always ask the admin listener');
  await reconfigure(edge, {
    access: { ...access, listeners: { http: { allow: ['127.0.0.2'] }, admin: { allow: ['127.0.0.3'] } } },
  });
  t.equal(await status(edge.http, '127.0.0.2'), 200);
  t.equal(await status(edge.https, '127.0.0.2'), 0, 'the common ones hold again');
  t.equal(await scraped('127.0.0.1'), 0, 'unless it is said who may');
  t.equal(await scraped('127.0.0.3'), 200);
});

void t.test('whom a proxy names and the lists refuse is limited, and told once', async (t) => {
  const limits = { requestsPerSecond: 1, burst: 5 };
  const config = { access: ACCESS, limits, audit: { to: 'audit.log' } };
  await using edge = await startEdge({ workers: 1, config });
  const headers = { 'X-Forwarded-For': '192.0.2.66' };
  const answers = await Promise.all(Array.from({ length: 60 }, () => ask(edge, headers)));
  const statuses = answers.map(({ status }) => status);
  t.same(new Set(statuses), new Set([403, 429]));
  t.ok(statuses.filter((status) => status === 429).length > 40);
  t.equal((await ask(edge, { 'X-Forwarded-For': '192.0.2.1' })).status, 200, 'others go on');
  await edge.stop();
  t.equal(edge.logs().filter(({ status }) => status === 403).length, 1);
  const lines = (await readFile(join(edge.dir, 'audit.log'), 'utf8')).split('\n');
  t.equal(lines.filter((line) => line.includes('"status":403')).length, 1);
});
