import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get, type Answer } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { createImage } from '../support/images.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const NOBODY = `sha256:${'0'.repeat(64)}`;
const image = createImage({ layers: [3000], format: 'oci' });
const sbom = createImage({ layers: [3000], seed: 2, format: 'oci', subject: image, artifactType: 'a/sbom' });

const central = await startCentral();
const other = await startCentral({ auth: { mode: 'token', users: { ada: 'secret' } } });
const closed = await startCentral();
for (const tag of ['a', 'b', 'c']) central.addImage('library/app', tag, image);
central.addImage('library/app', undefined, sbom);
for (const name of ['org/one', 'org/two', 'zeta']) other.addImage(name, 'v1', image);
closed.addImage('secret/app', 'v1', image);
const credentials = { username: 'ada', password: 'secret' };
const edge = await startEdge({
  workers: 2,
  config: {
    freshness: { tag: '1h' },
    upstreams: [
      { name: 'central', url: central.url, default: true, catalog: true },
      { name: 'other.corp', url: other.url, catalog: true, credentials, hosts: ['other.edge'] },
      { name: 'closed.corp', url: closed.url },
      { name: 'project.corp', url: `${closed.url}/secret`, catalog: true },
    ],
  },
});
t.teardown(async () => {
  await edge.remove();
  for (const one of [central, other, closed]) await one.stop();
});

interface Listed extends Answer {
  readonly json: Record<string, unknown>;
  readonly link: string | undefined;
}

async function ask(path: string, headers: Record<string, string> = {}): Promise<Listed> {
  const answer = await get(`${edge.http}${path}`, { keepBody: true, headers });
  const link = answer.headers['link'] as string | undefined;
  return { ...answer, json: JSON.parse(answer.body.toString()) as Record<string, unknown>, link };
}

/** Every page from `path` on, by its links alone, as clients go. */
async function pages(path: string, field: string): Promise<unknown[]> {
  const found: unknown[] = [];
  let next: string | undefined = path;
  while (next !== undefined && found.length < 20) {
    const answer: Listed = await ask(next);
    found.push(answer.json[field]);
    next = /^<(\/v2\/[!-~]+)>; rel="next"$/.exec(answer.link ?? '')?.[1];
  }
  return found;
}

void t.test('tags, page by page, under the name that the client has for the repository', async (t) => {
  t.same(await pages('/v2/library/app/tags/list?n=2', 'tags'), [['a', 'b'], ['c']]);
  const first = await ask('/v2/central/library/app/tags/list?n=2');
  t.match(first, {
    status: 200,
    json: { name: 'central/library/app', tags: ['a', 'b'] },
    link: '</v2/central/library/app/tags/list?n=2&last=b>; rel="next"',
    headers: { 'content-type': 'application/json', 'cache-status': 'pierhead; hit' },
  });
  const named = await ask('/v2/library/app/tags/list?n=2&ns=central');
  t.equal(named.link, '</v2/library/app/tags/list?n=2&last=b&ns=central>; rel="next"');
});

void t.test('HEAD has the headers of GET', async (t) => {
  const lists = [
    `/v2/library/app/tags/list`,
    `/v2/library/app/referrers/${image.digest}`,
    '/v2/_catalog?n=1',
  ];
  for (const path of lists) {
    const whole = await ask(path);
    const head = await get(`${edge.http}${path}`, { method: 'HEAD' });
    t.match(head, { status: 200, bytes: 0 }, path);
    for (const name of ['content-type', 'content-length', 'link', 'docker-distribution-api-version'])
      t.equal(head.headers[name], whole.headers[name], `${path} ${name}`);
  }
});

void t.test('a Link of another host, scheme or path leads nowhere but on, here', async (t) => {
  for (const [at, target] of [
    `${closed.url}/v2/secret/app/tags/list?last=x&n=1`,
    'ftp://elsewhere.corp/?last=x&n=1',
    '//elsewhere.corp/v2/_catalog?last=x&n=1&ns=closed.corp',
  ].entries()) {
    const repository = `links/app-${at}`;
    central.addImage(repository, 'x', image);
    central.on({ repository }, { kind: 'headers', headers: { link: `<${target}>; rel="next"` }, times: 1 });
    const { link } = await ask(`/v2/${repository}/tags/list?n=1`);
    t.equal(link, `</v2/${repository}/tags/list?n=1&last=x>; rel="next"`);
    t.same((await ask(`/v2/${repository}/tags/list?n=1&last=x`)).json['tags'], []);
  }
  t.equal(closed.log.length, 0, 'the edge did not follow it either');
});

void t.test('referrers: an index for every digest, filtered when asked', async (t) => {
  const path = `/v2/library/app/referrers/${image.digest}`;
  const all = await ask(path);
  t.match(all, { status: 200, headers: { 'content-type': INDEX, 'oci-filters-applied': undefined } });
  t.match(all.json, { schemaVersion: 2, mediaType: INDEX, manifests: [{ digest: sbom.digest }] });
  const some = await ask(`${path}?artifactType=a%2Fnone`);
  t.equal(some.headers['oci-filters-applied'], 'artifactType');
  t.same(some.json['manifests'], []);
  const nobody = await ask(`/v2/library/app/referrers/${NOBODY}`);
  t.match(nobody, { status: 200, headers: { 'content-type': INDEX }, json: { manifests: [] } });
});

void t.test('the catalog: the upstreams that are open to it, as this edge names them', async (t) => {
  const names = ['library/app', ...[0, 1, 2].map((at) => `links/app-${at}`)];
  const others = ['other.corp/org/one', 'other.corp/org/two', 'other.corp/zeta'];
  t.same((await pages('/v2/_catalog', 'repositories')).flat(), [...names, ...others]);
  const small = (await pages('/v2/_catalog?n=2', 'repositories')) as string[][];
  t.same(small.flat(), [...names, ...others]);
  t.ok(small.every((page) => page.length <= 2));
  t.ok(other.door?.tokenRequests('registry:catalog:*') === 1, 'asked under its own scope');
  for (const name of small.flat()) t.equal((await ask(`/v2/${name}/tags/list`)).status, 200, name);
  t.equal(closed.log.length, 0);
});

void t.test("a project's upstream never shows the rest of its registry", async (t) => {
  t.same((await ask('/v2/_catalog?ns=project.corp')).json, { repositories: [] });
  t.equal((await ask('/v2/project.corp/app/manifests/v1')).status, 200);
  closed.forget();
  const named = await ask('/v2/_catalog?n=5&ns=project.corp');
  t.same(named.json, { repositories: ['app'] }, 'what was pulled');
  t.equal(closed.log.length, 0);
});

void t.test('the catalog of one upstream, when the client names it', async (t) => {
  const bare = ['org/one', 'org/two', 'zeta'];
  t.same((await ask('/v2/_catalog?ns=other.corp')).json, { repositories: bare });
  t.same((await ask('/v2/_catalog', { host: 'other.edge:5000' })).json, { repositories: bare });
  const { link } = await ask('/v2/_catalog?n=2&ns=other.corp');
  t.equal(link, '</v2/_catalog?n=2&last=org%2Ftwo&ns=other.corp>; rel="next"');
  t.match(await ask('/v2/_catalog?ns=closed.corp'), { status: 403, json: { errors: [{ code: 'DENIED' }] } });
  t.match(await ask('/v2/_catalog?ns=none.corp'), { status: 404 });
  t.match(await ask('/v2/_catalog?n=0'), { json: { repositories: [] }, link: undefined });
});

void t.test('however many are asked for, pages are bounded', async (t) => {
  central.forget();
  await ask('/v2/bounded/app/tags/list?n=999999999');
  other.forget();
  await ask('/v2/_catalog?n=999999999&last=other.corp%2Fzz');
  t.same(
    [...central.log, ...other.log].map(({ query }) => query.get('n')),
    ['10000', '1000'],
  );
});

void t.test('what cannot be had is said so', async (t) => {
  t.match(await ask('/v2/none/app/tags/list'), { status: 404, json: { errors: [{ code: 'NAME_UNKNOWN' }] } });
  central.on({ repository: 'bad/app' }, { kind: 'status', status: 200, body: '<html>' });
  t.match(await ask('/v2/bad/app/tags/list'), {
    status: 502,
    json: { errors: [{ code: 'UNKNOWN', detail: 'the upstream sent a list that is not JSON' }] },
  });
  t.equal((await edge.metrics()).value('pierhead_rejected_lists_total'), 1);
  await central.stop();
  t.match(await ask('/v2/away/app/tags/list'), { status: 503, json: { errors: [{ code: 'UNAVAILABLE' }] } });
  t.match(await ask('/v2/library/app/tags/list?n=2'), { headers: { 'cache-status': 'pierhead; hit' } });
});
