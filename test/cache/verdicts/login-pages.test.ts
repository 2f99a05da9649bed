import t from 'tap';
import type { Fault, Match } from '../../support/central.ts';
import { createImage } from '../../support/images.ts';
import { basic, callerOf, PRIVATE, scene, type Scene } from './scene.ts';

const IMAGE = createImage({ layers: [20_000], seed: 'behind a login' });
const [LAYER] = IMAGE.blobs;
const DIGEST = LAYER?.digest ?? '';
const HEX = DIGEST.slice('sha256:'.length);
const BLOB = `blobs/${DIGEST}`;

const PAGE: Fault = {
  kind: 'status',
  status: 200,
  body: '<html>who are you?</html>',
  headers: { 'content-type': 'text/html; charset=utf-8', 'docker-distribution-api-version': '' },
};

function redirect(to: string, status = 302): Fault {
  return { kind: 'redirect', to: () => to, status };
}

/** What ada has pulled is in the cache; bob, whom the registry does not know, meets the faults. */
async function behind(t: Parameters<typeof scene>[0], ...faults: [Match, Fault][]): Promise<Scene> {
  const made = await scene(t, { mode: 'basic' });
  made.central.addImage(PRIVATE, 'v1', IMAGE);
  const one = made.worker();
  t.equal(await one.manifest(basic('ada'), 'v1'), 'miss');
  t.same(await one.blob(basic('ada'), DIGEST), LAYER?.bytes);
  for (const [match, fault] of faults)
    made.central.on({ ...match, when: ({ headers }) => headers.authorization === basic('bob') }, fault);
  return made;
}

void t.test('a login page is no yes, however strangers are led to it', async (t) => {
  const back = encodeURIComponent(`/v2/${PRIVATE}/${BLOB}`);
  for (const [what, fault] of [
    ['shown as 200', PAGE],
    ['elsewhere', redirect('https://sso.corp/login')],
    ['that knows where to go back to', redirect(`https://sso.corp/login?return=${back}`)],
    ['with the way back in its path', redirect(`https://sso.corp/login/v2/${PRIVATE}/${BLOB}`)],
    ['with the way back in its path, escaped', redirect(`https://sso.corp/login/${back}`)],
    ['moved for good', redirect('/login', 301)],
    ['within the registry', redirect('/v2/login')],
    ['beside it', redirect('/login')],
  ] as const) {
    const { central, worker } = await behind(t, [{}, fault]);
    const bob = basic('bob');
    // Where a redirect within the registry leads.
    central.on({ when: ({ url }) => url.endsWith('/login') }, PAGE);
    const one = worker();
    t.equal(await one.blob(bob, DIGEST), 'BLOB_UNKNOWN', what);
    t.equal(await one.head(bob, DIGEST), 'BLOB_UNKNOWN', what);
    t.equal(await one.manifest(bob, 'v1'), 'UNAVAILABLE', what);
    t.equal(await one.manifest(bob, IMAGE.digest), 'UNAVAILABLE', what);
    t.equal(await one.tags(bob), 'UNAVAILABLE', what);
    t.equal(await one.ping(bob), 'UNAVAILABLE', what);
    t.same(await worker().blob(basic('ada'), DIGEST), LAYER?.bytes, 'she is in all the same');
  }
});

void t.test('nor is a login page that nobody is let past an open door', async (t) => {
  for (const fault of [PAGE, redirect('https://sso.corp/login')]) {
    const { central, worker } = await scene(t, { mode: 'basic' });
    central.on({ kind: 'ping' }, fault);
    const { access } = worker();
    await t.rejects(access.ping(callerOf(undefined), () => 'central') ?? Promise.resolve(), {
      code: 'UNAVAILABLE',
    });
  }
});

void t.test('where content lies is a yes without another question: the path shows whose it is', async (t) => {
  for (const to of [
    `https://cdn.example/registry-v2/docker/registry/v2/blobs/sha256/${HEX.slice(0, 2)}/${HEX}/data?verify=1`,
    `https://bucket.s3.amazonaws.com/docker/registry/v2/blobs/sha256/${HEX}/data?X-Amz-Signature=1`,
    `https://account.blob.core.windows.net/a/docker/registry/v2/blobs/sha256/${HEX}/data?se=1&sig=2`,
    `https://pkg-containers.githubusercontent.com/ghcr1/blobs/sha256:${HEX}?sp=r&sig=1`,
  ]) {
    const { central, worker } = await behind(t, [{ kind: 'blob', method: 'HEAD' }, redirect(to, 307)]);
    central.forget();
    t.same(await worker().blob(basic('bob'), DIGEST), LAYER?.bytes, to);
    t.equal(central.requests(), 1, 'the blob');
  }
});

void t.test('where neither says whose it is, the list of tags decides', async (t) => {
  const blob = { kind: 'blob', method: 'HEAD' } as const;
  const opaque = redirect('https://pkg.dev/artifacts-downloads/namespaces/x/downloads/AJ81?sig=1');
  const bare: Fault = { kind: 'headers', headers: { 'docker-content-digest': undefined } };
  for (const fault of [opaque, bare]) {
    const { readers, central, worker } = await scene(t, { mode: 'basic' });
    central.addImage(PRIVATE, 'v1', IMAGE);
    t.same(await worker().blob(basic('ada'), DIGEST), LAYER?.bytes);
    readers.add('bob');
    central.on(blob, fault);
    central.forget();
    t.same(await worker().blob(basic('bob'), DIGEST), LAYER?.bytes);
    t.equal(central.requests('GET', 'tags'), 1);
  }
  const { worker } = await behind(t, [blob, opaque]);
  t.equal(await worker().blob(basic('bob'), DIGEST), 'DENIED', 'and its no is a no');
});
