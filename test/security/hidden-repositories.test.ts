import t, { type Test } from 'tap';
import { startAccessEdge, type AccessEdge, type AccessEdgeOptions } from '../access/access-edge.ts';
import type { Answer } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';

const ADA = '127.0.0.2';
const BOB = '127.0.0.3';
const PEOPLE = new Map([
  [ADA, { user: 'ada', groups: [] }],
  [BOB, { user: 'bob', groups: [] }],
]);
const image = createImage({ layers: [3000], format: 'oci' });
const sbom = createImage({ layers: [3000], seed: 2, format: 'oci', subject: image, artifactType: 'a/sbom' });
const layer = image.layers[0]?.digest ?? '';

/** Ada reads `team/**`, Bob reads everything; `secret/app` is there and warm, `team/none` and `nowhere/app` are not. */
async function scene(t: Test, options: AccessEdgeOptions = {}): Promise<AccessEdge> {
  const edge = await startAccessEdge(t, {
    people: PEOPLE,
    roles: [
      { role: 'publisher', users: ['ada'], repositories: ['team/**'] },
      { role: 'publisher', users: ['bob'] },
    ],
    ...options,
  });
  edge.central.addImage('team/app', '1.0', createImage({ layers: [3000], seed: 9 }));
  edge.central.addImage('secret/app', '1.0', image);
  edge.central.addImage('secret/app', undefined, sbom);
  for (const path of ['manifests/1.0', `manifests/${image.digest}`, `blobs/${layer}`, 'tags/list'])
    t.equal((await edge.ask(BOB, 'GET', `/v2/secret/app/${path}`)).status, 200, 'warm for who may read');
  edge.recorded();
  return edge;
}

const ROUTES = [
  'manifests/1.0',
  `manifests/${image.digest}`,
  `blobs/${layer}`,
  'tags/list',
  'tags/list?n=5&last=0',
  `referrers/${image.digest}`,
  `referrers/${image.digest}?artifactType=a%2Fsbom`,
];

function everything({ status, rawHeaders, body }: Answer): unknown {
  const headers = rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${rawHeaders[at + 1]}`] : []));
  return {
    status,
    headers: headers.filter((line) => !/^(x-request-id|date):/i.test(line)),
    body: body.toString(),
  };
}

void t.test('denied is to the byte what is not there, asked for once or again', async (t) => {
  const edge = await scene(t);
  for (const route of ROUTES)
    for (const method of ['GET', 'HEAD']) {
      const absent = [
        await edge.ask(ADA, method, `/v2/team/none/${route}`),
        await edge.ask(ADA, method, `/v2/team/none/${route}`),
        await edge.ask(BOB, method, `/v2/nowhere/app/${route}`),
      ].map(everything);
      const denied = await edge.ask(ADA, method, `/v2/secret/app/${route}`);
      t.same(
        absent.map((answer) => JSON.stringify(answer)),
        absent.map(() => JSON.stringify(everything(denied))),
        `${method} ${route}`,
      );
    }
  const of = edge.recorded().filter(({ repository }) => repository === 'central/secret/app');
  t.equal(of.length, ROUTES.length * 2);
  for (const entry of of)
    t.match(
      entry,
      { user: 'ada', ip: ADA, decision: 'deny', reason: 'no role allows it' },
      'the record has the truth',
    );
  t.same(of[0]?.tags, ['1.0']);
  t.equal(of[2]?.digest, image.digest);
  await eventually(() =>
    /"user":"ada".*"repository":"secret\/app".*"denied":"no role allows it"/.test(edge.logText),
  );
});

void t.test('a digest that is known from where one may not read is of no use elsewhere', async (t) => {
  const edge = await scene(t, { pushes: true });
  edge.central.forget();
  for (const method of ['GET', 'HEAD'])
    for (const path of [`blobs/${layer}`, `manifests/${image.digest}`]) {
      const through = await edge.ask(ADA, method, `/v2/team/app/${path}`);
      const unknown = await edge.ask(ADA, method, `/v2/team/app/${path.replace(/:.{8}/, ':00000000')}`);
      t.equal(through.status, 404, `${method} ${path}`);
      t.same(everything(through), everything(unknown), `${method} ${path}`);
    }
  const range = await edge.ask(ADA, 'GET', `/v2/team/app/blobs/${layer}`, {
    headers: { range: 'bytes=0-9' },
  });
  t.equal(range.status, 404);
  const known = await edge.ask(ADA, 'GET', `/v2/team/app/blobs/${layer}`, {
    headers: { 'if-none-match': `"${layer}"` },
  });
  t.equal(known.status, 404, 'a condition that would hold is no oracle');
});

void t.test('a mount from where one may not read is no mount', async (t) => {
  const edge = await scene(t, { pushes: true });
  const mount = async (from: string, by: string): Promise<Answer> =>
    await edge.ask(by, 'POST', `/v2/team/app/blobs/uploads/?mount=${layer}&from=${from}`);
  const denied = await mount('secret/app', ADA);
  const absent = await mount('nowhere/app', ADA);
  t.equal(denied.status, 202, 'an upload begins');
  t.same(everything(denied), everything(absent));
  t.same(
    edge.taker?.asked.map(({ url }) => url),
    ['/v2/team/app/blobs/uploads/', '/v2/team/app/blobs/uploads/'],
    'the registry hears of no source',
  );
  t.match(
    edge.recorded().filter(({ decision }) => decision === 'deny'),
    [
      {
        user: 'ada',
        repository: 'central/secret/app',
        digest: layer,
        reason: 'no role allows it',
        action: 'pull',
      },
      { user: 'ada', repository: 'central/nowhere/app', digest: layer, reason: 'no role allows it' },
    ],
  );
  t.equal((await mount('secret/app', BOB)).status, 201, 'who may read may mount');
  t.equal((await mount('team/app', ADA)).status, 201);
});

void t.test('a name that begins like one that may be read gains nothing', async (t) => {
  const edge = await scene(t, {
    roles: [
      {
        role: 'reader',
        users: ['ada'],
        repositories: ['secret/ap', 'secret', 'secret/app/*', '*/app2', 'central/**'],
      },
      { role: 'publisher', users: ['bob'] },
    ],
  });
  for (const name of ['secret/app', 'central/secret/app'])
    for (const from of ['', '?ns=central'])
      t.equal((await edge.ask(ADA, 'GET', `/v2/${name}/manifests/1.0${from}`)).status, 404, name + from);
  t.equal((await edge.ask(BOB, 'GET', `/v2/central/secret/app/manifests/1.0`)).status, 200);
});

void t.test('a repository with a forbidden word is there for nobody', async (t) => {
  const edge = await scene(t, { pushes: true });
  edge.put({ roles: [{ role: 'publisher', users: ['*'] }], forbiddenNames: ['secret', 'a/b'] });
  edge.central.forget();
  for (const name of ['secret/app', 'team/secrets', 'x/y-secret-z/w', 'a/b', 'za/bz'])
    for (const [method, path, status] of [
      ['GET', 'manifests/1.0', 404],
      ['HEAD', `manifests/${image.digest}`, 404],
      ['GET', `blobs/${layer}`, 404],
      ['GET', 'tags/list', 404],
      ['GET', `referrers/${image.digest}`, 404],
      ['PUT', 'manifests/1.0', 404],
      ['DELETE', 'manifests/1.0', 404],
      ['POST', 'blobs/uploads/', 404],
      ['PATCH', 'blobs/uploads/1', 404],
    ] as const) {
      t.equal(
        (await edge.ask(ADA, method, `/v2/${name}/${path}`)).status,
        status,
        `${method} ${name} ${path}`,
      );
    }
  t.equal(edge.central.log.length, 0, 'nobody was asked');
  t.same(edge.taker?.asked, []);
  for (const entry of edge.recorded())
    t.match(entry, { decision: 'deny', reason: 'forbidden name', user: 'ada' });
  t.equal(
    (await edge.ask('127.0.0.9', 'GET', '/v2/secret/app/tags/list')).status,
    401,
    'strangers learn no word',
  );
  t.same(JSON.parse((await edge.ask(ADA, 'GET', '/v2/_catalog')).body.toString()), {
    repositories: ['team/app'],
  });
  const mount = await edge.ask(ADA, 'POST', `/v2/team/app/blobs/uploads/?mount=${layer}&from=secret/app`);
  t.equal(mount.status, 202);
  t.equal((await edge.ask(ADA, 'GET', '/v2/team/app/tags/list')).status, 200);
});

void t.test('without roles, too', async (t) => {
  const edge = await startAccessEdge(t, { mode: 'none', forbiddenNames: ['secret'] });
  edge.central.addImage('secret/app', '1.0', image);
  edge.central.addImage('team/app', '1.0', image);
  t.equal((await edge.ask('127.0.0.9', 'GET', '/v2/secret/app/manifests/1.0')).status, 404);
  t.equal((await edge.ask('127.0.0.9', 'GET', '/v2/team/app/manifests/1.0')).status, 200);
  const { body } = await edge.ask('127.0.0.9', 'GET', '/v2/_catalog');
  t.same(JSON.parse(body.toString()), { repositories: ['team/app'] });
});

void t.test('a role that is taken away is gone for the next request, warm or not', async (t) => {
  const edge = await scene(t);
  const pull = async (): Promise<number[]> => {
    const statuses = [];
    for (const route of ROUTES.slice(0, 4))
      statuses.push((await edge.ask(BOB, 'GET', `/v2/secret/app/${route}`)).status);
    return statuses;
  };
  t.same(await pull(), [200, 200, 200, 200]);
  edge.put({ roles: [{ role: 'reader', users: ['ada'] }] });
  t.same(await pull(), [404, 404, 404, 404]);
  edge.put({ roles: [{ role: 'reader', users: ['bob'] }] });
  t.same(await pull(), [200, 200, 200, 200]);
  edge.put({ roles: [{ role: 'reader', users: ['bob'] }], forbiddenNames: ['secret'] });
  t.same(await pull(), [404, 404, 404, 404]);
});

void t.test('the catalog: no page, end or link tells of what is hidden', async (t) => {
  const edge = await scene(t);
  for (const name of ['secret/one', 'secret/two', 'team/a', 'team/z', 'zzz'])
    edge.central.addImage(name, '1.0', image);
  const seen: string[] = [];
  const links: unknown[] = [];
  let next: string | undefined = '/v2/_catalog?n=1';
  while (next !== undefined && links.length < 10) {
    const { body, headers } = await edge.ask(ADA, 'GET', next);
    seen.push(...(JSON.parse(body.toString()) as { repositories: string[] }).repositories);
    links.push(headers.link);
    next = /^<([!-~]+)>; rel="next"$/.exec(String(headers.link ?? ''))?.[1];
  }
  t.same(seen, ['team/a', 'team/app', 'team/z']);
  t.same(links, [
    '</v2/_catalog?n=1&last=team%2Fa>; rel="next"',
    '</v2/_catalog?n=1&last=team%2Fapp>; rel="next"',
    undefined,
  ]);
  const all = await edge.ask(BOB, 'GET', '/v2/_catalog');
  t.equal((JSON.parse(all.body.toString()) as { repositories: string[] }).repositories.length, 7);
  // Names are found by asking what comes after a guess; here every guess before `team/a` looks the same.
  const guesses = ['a', 'secret/', 'secret/o', 'secret/one', 'secret/zzz'].map(
    (last) => `/v2/_catalog?n=1&last=${encodeURIComponent(last)}`,
  );
  const answers = [];
  for (const guess of guesses) answers.push(everything(await edge.ask(ADA, 'GET', guess)));
  for (const answer of answers) t.same(answer, answers[0]);
  t.equal((await edge.ask(ADA, 'GET', '/v2/_catalog?n=999999999')).status, 200, 'however many are asked for');
});
