import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get, type Answer, type GetOptions } from '../support/clients.ts';
import { CredentialProgram } from '../support/credential-program.ts';
import { startEdge, type Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { plainClient, startRedis } from '../support/redis.ts';
import { tempFolder } from '../support/temp.ts';
import { reply, serve } from '../upstream/scripted-server.ts';

const skip = missing('redis-server');
/** One of each credential that this edge holds or sees. None holds another. */
const CANARY = {
  password: 'canary-upstream-password-1a',
  fromEnvironment: 'canary-environment-password-2b',
  helper: 'canary-helper-password-3c',
  identity: 'canary-identity-token-4d',
  issued: 'canary-issued-token-5e',
  redisPassword: 'canary-redis-password-6f',
  site: Buffer.from('canary-site-secret-7g-32-bytes-!').toString('base64'),
  pusher: 'canary-pusher-password-8h',
  puller: 'canary-puller-password-9i',
  signature: 'canary-signature-of-a-url-10j',
  cookie: 'canary-cookie-11k',
  session: 'canary-upload-session-12l',
  printed: 'canary-printed-by-a-program-that-fails-13m',
};
const USER = 'robot';

/** As itself, and in every form in which it is sent or could be written. */
function formsOf(secret: string): string[] {
  const basic = Buffer.from(`${USER}:${secret}`);
  const own = Buffer.from(secret);
  return [
    secret,
    ...[own, basic].flatMap((bytes) => [
      bytes.toString('base64').replace(/=+$/, ''),
      bytes.toString('base64url'),
    ]),
    own.toString('hex'),
    encodeURIComponent(secret),
    JSON.stringify([...own]).slice(1, -1),
  ];
}

const seen: string[] = [];
const basicOf = (secret: string): string => `Basic ${Buffer.from(`${USER}:${secret}`).toString('base64')}`;

async function ask(edge: Edge, path: string, options: GetOptions = {}): Promise<Answer> {
  const answer = await get(`${edge.http}/v2/${path}`, { keepBody: true, ...options });
  seen.push(answer.rawHeaders.join('\n'), answer.body.toString('latin1'));
  return answer;
}

/** The command lines of all its processes, and of what they have started. */
async function commandLines(edge: Edge): Promise<string[]> {
  const pids = [...(await edge.rssOf()).keys()];
  return await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1')));
}

async function contentsBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return await Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'latin1')));
}

void t.test('no credential is found anywhere, whatever goes wrong', { skip }, async (t) => {
  const image = createImage({ layers: [3000, 100_000] });
  const passwords = await startCentral({ auth: { mode: 'token', users: { [USER]: CANARY.password } } });
  const basics = await startCentral({ auth: { mode: 'basic', users: { [USER]: CANARY.fromEnvironment } } });
  for (const central of [passwords, basics]) {
    t.teardown(() => central.stop());
    central.addImage('app', 'v1', image);
  }
  // Takes an identity token for a bearer; sends blobs elsewhere, by a signed URL; takes pushes.
  const identity = await serve(t, (request, response) => {
    const url = request.url ?? '';
    const { authorization } = request.headers;
    const cookie = { 'set-cookie': `s=${CANARY.cookie}` };
    if (url.startsWith('/token')) {
      request
        .resume()
        .once('end', () => reply(response, 200, cookie, JSON.stringify({ access_token: CANARY.issued })));
    } else if (request.method !== 'GET' && request.method !== 'HEAD') {
      const location = `${url.split('?')[0] ?? ''}${CANARY.session}?_state=${CANARY.session}`;
      request
        .resume()
        .once('end', () => reply(response, url.includes('refused') ? 403 : 202, { ...cookie, location }));
    } else if (authorization !== `Bearer ${CANARY.issued}`) {
      const challenge = `Bearer realm="${identity.url}/token",service="s"`;
      reply(response, 401, { ...cookie, 'www-authenticate': challenge });
    } else if (url.includes('/blobs/')) {
      const host = url.includes('elsewhere') ? '169.254.169.254' : identity.host;
      reply(response, 307, { location: `http://${host}/gone?X-Signature=${CANARY.signature}` });
    } else reply(response, 404, cookie);
  });
  const identityHelper = await CredentialProgram.create(t, '', 'docker-credential-token');
  await identityHelper.gives({ ServerURL: 'x', Username: '<token>', Secret: CANARY.identity });
  const failing = await CredentialProgram.create(
    t,
    `echo ${CANARY.printed}; echo no such registry >&2; exit 3`,
  );
  const exec = await CredentialProgram.create(t, '', 'credentials');
  await exec.gives({ username: USER, password: CANARY.helper });
  const refusing = await startCentral({ auth: { mode: 'basic', users: { nobody: 'x' } } });
  t.teardown(() => refusing.stop());

  const redis = await startRedis({ password: CANARY.redisPassword });
  t.teardown(() => redis.remove());
  const dir = tempFolder(t, 'secrets');
  await writeFile(join(dir, 'password'), CANARY.password, { mode: 0o600 });
  await writeFile(join(dir, 'redis'), CANARY.redisPassword, { mode: 0o600 });
  await writeFile(join(dir, 'site'), CANARY.site, { mode: 0o600 });
  const edge = await startEdge({
    workers: 2,
    env: {
      UPSTREAM_SECRET: CANARY.fromEnvironment,
      PATH: `${identityHelper.folder}:${failing.folder}:${process.env['PATH']}`,
    },
    config: {
      log: { level: 'trace' },
      audit: { to: 'audit.log' },
      freshness: { tag: '1ms', negative: '1ms' },
      redis: { url: redis.url, password: { file: join(dir, 'redis') }, secret: { file: join(dir, 'site') } },
      upstreams: [
        {
          name: 'a',
          url: passwords.url,
          default: true,
          credentials: { username: USER, password: { file: join(dir, 'password') } },
        },
        { name: 'b', url: basics.url, credentials: { username: USER, password: { env: 'UPSTREAM_SECRET' } } },
        { name: 'c', url: identity.url, push: true, credentials: { helper: 'token', server: 'x' } },
        { name: 'd', url: basics.url, credentials: { helper: 'test', server: 'y' } },
        { name: 'e', url: refusing.url, credentials: { exec: [exec.file] } },
        { name: 'f', url: 'http://127.0.0.1:1', push: true },
      ],
    },
  });
  t.teardown(() => edge.remove());

  const puller = {
    headers: {
      authorization: basicOf(CANARY.puller),
      cookie: CANARY.cookie,
      'x-registry-auth': CANARY.puller,
    },
  };
  const pusher = { headers: { authorization: basicOf(CANARY.pusher) }, body: '{}' };
  for (const upstream of ['a', 'b', 'c', 'd', 'e', 'f']) {
    for (const path of ['manifests/v1', 'manifests/absent', 'tags/list', `referrers/${image.digest}`])
      await ask(edge, `${upstream}/app/${path}`, puller);
    for (const { digest } of image.blobs) {
      await ask(edge, `${upstream}/app/blobs/${digest}`, puller);
      await ask(edge, `${upstream}/elsewhere/blobs/${digest}?token=${CANARY.puller}`, puller);
    }
    await ask(edge, `${upstream}/app/blobs/uploads/`, { method: 'POST', ...pusher });
    await ask(edge, `${upstream}/refused/manifests/v1`, { method: 'PUT', ...pusher });
    const target = `${upstream}/app/blobs/uploads/${CANARY.session}?_state=${CANARY.session}&digest=x`;
    const { body, rawHeaders } = await get(`${edge.http}/v2/${target}`, {
      method: 'PATCH',
      keepBody: true,
      ...pusher,
    });
    // The session of an upload is the client's own, and only here it is for the client.
    seen.push(`${rawHeaders.join('\n')}${body.toString()}`.replaceAll(CANARY.session, ''));
  }
  // What was under way when things broke is the likeliest to be told in full.
  await redis.command('CONFIG', 'SET', 'requirepass', 'another');
  await redis.command('CLIENT', 'KILL', 'TYPE', 'normal').catch(() => undefined);
  passwords.door?.revokeAll();
  for (const upstream of ['a', 'c']) await ask(edge, `${upstream}/app/manifests/later`, puller);
  edge.signal('SIGHUP');
  await eventually(() => /reload/.test(edge.output));
  const lines = await commandLines(edge);
  const scrape = await get(`${edge.admin}/metrics`, { keepBody: true });
  await edge.stop();

  t.ok(
    passwords
      .find({ kind: 'token' })
      .some(({ headers }) => headers.authorization === basicOf(CANARY.password)),
  );
  t.ok(identity.count('/token') > 0, 'the identity token was used');
  t.ok(
    identity.asked.some(({ headers }) => headers.authorization === basicOf(CANARY.pusher)),
    'and so was the pusher’s',
  );

  const kept = await contentsBelow(join(edge.dir, 'data'));
  const dump = await readDump(redis.port);
  const places = {
    log: [edge.output],
    metrics: [scrape.body.toString()],
    arguments: lines,
    disk: kept,
    answers: seen,
    redis: [dump],
  };
  const audit = await readFile(join(edge.dir, 'audit.log'), 'utf8');
  t.ok(
    edge.output.length > 5000 && dump.length > 200 && kept.length > 3 && audit.length > 1000,
    'there is something to search',
  );
  for (const [name, secret] of Object.entries(CANARY)) {
    for (const [place, texts] of Object.entries({ ...places, audit: [audit] })) {
      // What a client is told of its own upload, and of nothing else.
      if (place === 'answers' && name === 'session') continue;
      const found = formsOf(secret).filter((form) => texts.some((text) => text.includes(form)));
      t.same(found, [], `${name} is not in the ${place}`);
    }
  }
  for (const { headers } of passwords.log.concat(basics.log, refusing.log))
    t.notMatch(JSON.stringify(headers), /canary-(puller|pusher|cookie)/, 'a puller’s own go nowhere');
});

async function readDump(port: number): Promise<string> {
  const client = plainClient({ host: '127.0.0.1', port, password: 'another' });
  try {
    const keys = await client.keysBuffer('*');
    const values = await Promise.all(keys.map((key) => client.dumpBuffer(key)));
    return Buffer.concat([...keys, ...values.filter((value) => value !== null)]).toString('latin1');
  } finally {
    client.disconnect();
  }
}
