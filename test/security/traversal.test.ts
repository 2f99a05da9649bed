import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { createImage } from '../support/images.ts';
import { missing, part } from '../support/parts.ts';
import { startProcess } from '../support/processes.ts';
import { tempFolder } from '../support/temp.ts';
import { PATH_TRICKS } from '../registry/path-tricks.ts';
import { exchange } from '../server/raw.ts';

const skip = missing('strace');
const HEX = 'a'.repeat(64);
const DIGEST = `sha256:${HEX}`;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

const central = await startCentral();
t.teardown(() => central.stop());
const image = createImage({ layers: [3000] });
central.addImage('app', 'latest', image);
const dir = tempFolder(t, 'traversal');
// One process, so that one trace sees all of it.
const edge = await startEdge({
  dir,
  workers: 1,
  config: { upstreams: [{ name: 'central', url: central.url, push: true, default: true, catalog: true }] },
});
t.teardown(() => edge.remove());

/** Every place where a client's words stand, each as it is sent. */
const PLACES: Readonly<Record<string, (trick: string) => string>> = {
  'the name, for a manifest': (trick) => `GET /v2/${trick}/manifests/latest`,
  'the front of a name': (trick) => `GET /v2/${trick}/app/blobs/${DIGEST}`,
  'the middle of a name': (trick) => `GET /v2/a/${trick}/b/referrers/${DIGEST}`,
  'the end of a name': (trick) => `GET /v2/app/${trick}/tags/list`,
  'part of a component': (trick) => `GET /v2/a${trick}b/manifests/latest`,
  'a tag': (trick) => `GET /v2/app/manifests/${trick}`,
  'the end of a tag': (trick) => `HEAD /v2/app/manifests/latest${trick}`,
  'a digest': (trick) => `GET /v2/app/blobs/${trick}`,
  'the end of a digest': (trick) => `GET /v2/app/blobs/${DIGEST}${trick}`,
  'the front of a digest': (trick) => `GET /v2/app/blobs/${trick}${DIGEST}`,
  'the digest of referrers': (trick) => `GET /v2/app/referrers/${trick}`,
  'the session of an upload': (trick) => `PATCH /v2/app/blobs/uploads/${trick}`,
  'the tag of a push': (trick) => `PUT /v2/app/manifests/${trick}`,
  'what is deleted': (trick) => `DELETE /v2/app/blobs/${trick}`,
  'the route': (trick) => `GET /v2/app/manifests${trick}/latest`,
  'the front of the path': (trick) => `GET /v2${trick}/app/manifests/latest`,
};

/** A segment of a registry's own making may be all of these, and stays one; a blank at the end is part of the request line. */
const HARMLESS: Readonly<Record<string, readonly string[]>> = {
  'the end of a tag': [' '],
  'the session of an upload': ['...', '.hidden', '..a', '..~', ' '],
};

/** In a query a form may be harmless: it is sent on as a name, or ignored, and never becomes a path here. */
const QUERIES: Readonly<Record<string, (trick: string) => string>> = {
  namespace: (trick) => `GET /v2/app/manifests/latest?ns=${trick}`,
  last: (trick) => `GET /v2/app/tags/list?n=5&last=${trick}`,
  cursor: (trick) => `GET /v2/app/tags/list?cursor=${trick}`,
  artifactType: (trick) => `GET /v2/app/referrers/${DIGEST}?artifactType=${trick}`,
  'the end of a catalog': (trick) => `GET /v2/_catalog?last=${trick}`,
  mount: (trick) => `POST /v2/app/blobs/uploads/?from=app&mount=${trick}`,
  from: (trick) => `POST /v2/app/blobs/uploads/?mount=${DIGEST}&from=${trick}`,
};

async function statusOf(place: (trick: string) => string, trick: string): Promise<number> {
  const line = place(trick);
  const sent = Buffer.from(`${line} HTTP/1.1\r\nHost: e\r\n\r\n`, 'utf8');
  const { answers } = await exchange(edge.http, sent, { answers: 1, head: line.startsWith('HEAD') });
  return answers[0]?.status ?? 0;
}

/** All files and folders that the process asked the kernel for while `action` ran. */
async function pathsAskedFor(action: () => Promise<void>): Promise<string[]> {
  const file = join(dir, 'trace');
  const args = ['-f', '-s', '4096', '-e', 'trace=%file', '-o', file, '-p', String(edge.pid)];
  await using _trace = await startProcess(part('strace'), args, {
    ready: (running) => /attached/.test(running.stderr),
  });
  await action();
  // Whatever was asked is in the trace once this is.
  await get(`${edge.http}/v2/app/blobs/${image.blobs[0]?.digest}`);
  const read = async (): Promise<string> => await readFile(file, 'utf8');
  await eventually(async () => (await read()).includes(image.blobs[0]?.digest.slice(7) ?? '?'));
  return [...(await read()).matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, path = '']) => path);
}

function outside(paths: readonly string[]): string[] {
  // Memory is asked for by the allocator, and an open file has no path.
  const asked = paths.filter((path) => path !== '' && path !== '/proc/sys/vm/overcommit_memory');
  if (asked.length === 0) throw new Error('the trace has seen nothing');
  const storage = `${join(dir, 'data')}/`;
  return [...new Set(asked.filter((path) => !path.startsWith(storage) || path.split('/').includes('..')))];
}

void t.test('no form on any parameter leads out of the storage folder', { skip }, async (t) => {
  t.ok(PATH_TRICKS.length >= 50);
  // Warm, so that what is loaded once is not in the trace.
  await get(`${edge.http}/v2/app/manifests/latest`);
  await get(`${edge.http}/v2/app/tags/list`);
  await get(`${edge.http}/v2/app/referrers/${DIGEST}`);
  await get(`${edge.http}/v2/_catalog`);
  central.forget();
  const paths = await pathsAskedFor(async () => {
    for (const [name, place] of Object.entries(PLACES)) {
      const statuses = await Promise.all(PATH_TRICKS.map((trick) => statusOf(place, trick)));
      const passed = PATH_TRICKS.filter((_, at) => ![400, 404].includes(statuses[at] ?? 0));
      // A question mark ends the path: what is left is another request.
      const odd = passed.filter((trick) => trick !== '?../' && HARMLESS[name]?.includes(trick) !== true);
      t.same(odd, [], name);
    }
    for (const [name, place] of Object.entries(QUERIES)) {
      const statuses = await Promise.all(PATH_TRICKS.map((trick) => statusOf(place, trick)));
      t.ok(
        statuses.every((status) => status > 0 && status < 500),
        `${name}: no form breaks anything`,
      );
    }
  });
  t.same(outside(paths), []);
  const upstream = [...new Set(central.log.map(({ path }) => path))];
  t.same(
    upstream.filter((path) => !/^\/v2\/[\w.~:/-]+$/.test(path)),
    [],
    'the upstream is asked for plain paths',
  );
  t.notOk(upstream.some((path) => /\/\.{1,2}(?:\/|$)/.test(path)));
});

void t.test('nor does any digest of an upstream (CVE-2024-3727)', { skip }, async (t) => {
  const before = await namesBelow(join(dir, 'data'));
  const digests = PATH_TRICKS.flatMap((trick) => [trick, `sha256:${trick}`, `sha256:${HEX}${trick}`]);
  const size = 10;
  const manifests = digests.flatMap((digest, at) => [
    ['layers', at, MANIFEST, { config: { digest: DIGEST, size }, layers: [{ digest, size }] }] as const,
    ['config', at, MANIFEST, { config: { digest, size }, layers: [] }] as const,
    ['children', at, INDEX, { manifests: [{ digest, size }] }] as const,
  ]);
  for (const [kind, at, mediaType, document] of manifests) {
    const content = JSON.stringify({ schemaVersion: 2, mediaType, ...document });
    central.addManifest('evil', `${kind}-${at}`, content, mediaType);
  }
  const paths = await pathsAskedFor(async () => {
    for (const [kind, at] of manifests) {
      const { status } = await get(`${edge.http}/v2/evil/manifests/${kind}-${at}`);
      if (status !== 400) t.equal(status, 400, `${kind}: ${digests[at]}`);
    }
    for (const trick of PATH_TRICKS) {
      if (/[^\t\x20-\x7e]/.test(trick)) continue;
      const fault = central.on({ kind: 'manifest' }, { kind: 'wrongDigestHeader', digest: trick });
      await get(`${edge.http}/v2/evil/manifests/header`);
      fault.remove();
    }
  });
  t.same(outside(paths), []);
  t.same(await namesBelow(join(dir, 'data')), before, 'nothing of it was kept');
});

async function namesBelow(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).filter((name) => !name.includes('meta')).toSorted();
}
