import t from 'tap';
import { startAccessEdge } from '../access/access-edge.ts';
import { createImage } from '../support/images.ts';

/** The roles reach `team/*` only. Each address is somebody. */
const PEOPLE = new Map([
  ['127.0.0.2', { user: 'rita', groups: [] }],
  ['127.0.0.3', { user: 'paul', groups: ['publishers'] }],
  ['127.0.0.4', { user: 'olga', groups: [] }],
  ['127.0.0.5', { user: 'nils', groups: ['reader', 'publisher'] }],
]);
const FROM = {
  reader: '127.0.0.2',
  publisher: '127.0.0.3',
  operator: '127.0.0.4',
  'known, without a role': '127.0.0.5',
  'unknown, in a network with a role': '127.0.0.6',
  unknown: '127.0.0.7',
} as const;
const image = createImage({ layers: [3000], format: 'oci' });
const edge = await startAccessEdge(t, {
  people: PEOPLE,
  pushes: true,
  roles: [
    { role: 'reader', users: ['rita'], repositories: ['team/*'] },
    { role: 'publisher', groups: ['publishers'], repositories: ['team/*'] },
    { role: 'operator', users: ['olga'] },
    { role: 'reader', networks: ['127.0.0.6'], repositories: ['team/*'] },
  ],
});
for (const name of ['team/app', 'secret/app']) edge.central.addImage(name, '1.0', image);

const layer = image.layers[0]?.digest ?? '';
/** Of a repository, whose name goes in front. */
const ROUTES: Readonly<Record<string, string>> = {
  'manifest by tag': 'manifests/1.0',
  'manifest by digest': `manifests/${image.digest}`,
  blob: `blobs/${layer}`,
  tags: 'tags/list',
  referrers: `referrers/${image.digest}`,
  'new upload': 'blobs/uploads/',
  'running upload': 'blobs/uploads/1',
};
const UNNAMED: Readonly<Record<string, string>> = {
  ping: '/v2/',
  catalog: '/v2/_catalog',
  'no route of ours': '/token',
};
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'];

/** Of `team/app`, which is there. A status per method, in the order of {@link METHODS}. */
const TEAM: Readonly<Record<keyof typeof FROM, string>> = {
  reader: `
                        GET HEAD POST PUT PATCH DELETE OPTIONS TRACE
    ping                200 200  405  405 405   405    405     405
    catalog             200 200  405  405 405   405    405     405
    manifest by tag     200 200  405  403 405   403    405     405
    manifest by digest  200 200  405  403 405   403    405     405
    blob                200 200  405  405 405   403    405     405
    tags                200 200  405  405 405   405    405     405
    referrers           200 200  405  405 405   405    405     405
    new upload          405 405  403  405 405   405    405     405
    running upload      403 403  405  403 403   403    405     405
    no route of ours    404 404  404  404 404   404    404     404`,
  publisher: `
                        GET HEAD POST PUT PATCH DELETE OPTIONS TRACE
    ping                200 200  405  405 405   405    405     405
    catalog             200 200  405  405 405   405    405     405
    manifest by tag     200 200  405  201 405   202    405     405
    manifest by digest  200 200  405  201 405   202    405     405
    blob                200 200  405  405 405   202    405     405
    tags                200 200  405  405 405   405    405     405
    referrers           200 200  405  405 405   405    405     405
    new upload          405 405  202  405 405   405    405     405
    running upload      204 204  405  201 202   204    405     405
    no route of ours    404 404  404  404 404   404    404     404`,
  operator: `
                        GET HEAD POST PUT PATCH DELETE OPTIONS TRACE
    ping                200 200  405  405 405   405    405     405
    catalog             200 200  405  405 405   405    405     405
    manifest by tag     404 404  405  404 405   404    405     405
    manifest by digest  404 404  405  404 405   404    405     405
    blob                404 404  405  405 405   404    405     405
    tags                404 404  405  405 405   405    405     405
    referrers           404 404  405  405 405   405    405     405
    new upload          405 405  404  405 405   405    405     405
    running upload      404 404  405  404 404   404    405     405
    no route of ours    404 404  404  404 404   404    404     404`,
  'known, without a role': `
                        GET HEAD POST PUT PATCH DELETE OPTIONS TRACE
    ping                200 200  405  405 405   405    405     405
    catalog             200 200  405  405 405   405    405     405
    manifest by tag     404 404  405  404 405   404    405     405
    manifest by digest  404 404  405  404 405   404    405     405
    blob                404 404  405  405 405   404    405     405
    tags                404 404  405  405 405   405    405     405
    referrers           404 404  405  405 405   405    405     405
    new upload          405 405  404  405 405   405    405     405
    running upload      404 404  405  404 404   404    405     405
    no route of ours    404 404  404  404 404   404    404     404`,
  'unknown, in a network with a role': `
                        GET HEAD POST PUT PATCH DELETE OPTIONS TRACE
    ping                200 200  405  405 405   405    405     405
    catalog             200 200  405  405 405   405    405     405
    manifest by tag     200 200  405  401 405   401    405     405
    manifest by digest  200 200  405  401 405   401    405     405
    blob                200 200  405  405 405   401    405     405
    tags                200 200  405  405 405   405    405     405
    referrers           200 200  405  405 405   405    405     405
    new upload          405 405  401  405 405   405    405     405
    running upload      401 401  405  401 401   401    405     405
    no route of ours    404 404  404  404 404   404    404     404`,
  unknown: `
                        GET HEAD POST PUT PATCH DELETE OPTIONS TRACE
    ping                401 401  401  401 401   401    401     401
    catalog             401 401  401  401 401   401    401     401
    manifest by tag     401 401  401  401 401   401    401     401
    manifest by digest  401 401  401  401 401   401    401     401
    blob                401 401  401  401 401   401    401     401
    tags                401 401  401  401 401   401    401     401
    referrers           401 401  401  401 401   401    401     401
    new upload          401 401  401  401 401   401    401     401
    running upload      401 401  401  401 401   401    401     401
    no route of ours    404 404  404  404 404   404    404     404`,
};

/** What is there, as it would be without the caller's part in it: pulls first, since pushes make the edge forget. */
for (const [who, table] of Object.entries(TEAM) as [keyof typeof FROM, string][]) {
  void t.test(`${who}: every method on every route`, async (t) => {
    const found: string[] = ['', `${' '.repeat(24)}${METHODS.join(' ')}`];
    for (const route of [...Object.keys(UNNAMED).slice(0, 2), ...Object.keys(ROUTES), 'no route of ours']) {
      const path = UNNAMED[route] ?? `/v2/team/app/${ROUTES[route]}`;
      const statuses: string[] = [];
      for (const method of METHODS) {
        const { status, headers } = await edge.ask(FROM[who], method, path);
        statuses.push(String(status).padEnd(method.length));
        t.equal(headers['www-authenticate'] !== undefined, status === 401, `${method} ${path}: a challenge`);
        t.equal(headers.allow !== undefined, status === 405, `${method} ${path}: what else there is`);
      }
      found.push(`    ${route.padEnd(20)}${statuses.join(' ').trimEnd()}`);
    }
    t.same(found.join('\n').split('\n'), table.split('\n'));
  });
}

void t.test('what no role reaches is neither there nor not there, for anybody and any method', async (t) => {
  edge.central.forget();
  edge.taker?.asked.splice(0);
  edge.recorded();
  for (const [who, from] of Object.entries(FROM)) {
    for (const [route, path] of Object.entries(ROUTES))
      for (const method of METHODS) {
        const there = await edge.ask(from, method, `/v2/secret/app/${path}`);
        const nowhere = await edge.ask(from, method, `/v2/nowhere/app/${path}`);
        t.same(shown(there), shown(nowhere), `${who}: ${method} ${route}`);
        t.notOk(there.status < 400, `${who}: ${method} ${route} is refused`);
      }
    const { body } = await edge.ask(from, 'GET', '/v2/_catalog');
    t.notMatch(body.toString(), 'secret', `${who}: catalog`);
  }
  t.notOk(
    edge.central.log.some(({ repository }) => repository === 'secret/app' || repository === 'nowhere/app'),
    'the central was not asked',
  );
  t.same(edge.taker?.asked, [], 'nothing was passed on');
  const about = edge.recorded().filter(({ repository }) => repository === 'central/secret/app');
  for (const [who, from] of Object.entries(FROM)) {
    const theirs = about.filter(({ ip }) => ip === from);
    // Of strangers the same refusal is told once a minute: theirs went on record above.
    if (!who.startsWith('unknown'))
      t.equal(theirs.length, Object.keys(ROUTES).length * METHODS.length, `${who}: each is on record`);
  }
  t.ok(
    about.every(({ decision }) => decision === 'deny'),
    'all of it as denied',
  );
});

function shown({ status, rawHeaders, body }: Awaited<ReturnType<typeof edge.ask>>): unknown {
  const headers = rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [[name, rawHeaders[at + 1]]] : []));
  return {
    status,
    headers: headers.filter(([name]) => name !== 'x-request-id' && name !== 'Date'),
    body: body.toString(),
  };
}
