import * as fc from 'fast-check';
import t from 'tap';
import { RegistryError } from '../../../src/oci/error-codes.ts';
import { parseRepositoryName, type RepositoryName } from '../../../src/oci/repository-name.ts';
import { UploadLocations, type TwoNames } from '../../../src/registry/push/upload-locations.ts';
import { parseTarget } from '../../../src/registry/route.ts';

const KEY = new Uint8Array(32).fill(7);

function named(text: string): RepositoryName {
  const name = parseRepositoryName(text);
  if (name === undefined) throw new Error('the test itself is wrong');
  return name;
}

function locations(
  url = 'https://central:5000',
  names: Partial<TwoNames> = {},
  name = 'central',
): UploadLocations {
  const upstream = { name, url: new URL(url), sessionKey: KEY };
  return new UploadLocations(upstream, {
    upstream: named('team/app'),
    client: named('central/team/app'),
    namespace: undefined,
    ...names,
  });
}

/** What the upstream is asked when a client follows `location`, with `extra` added to its query. */
function followed(at: UploadLocations, location: string, extra = ''): string {
  const { route } = parseTarget(
    extra === '' ? location : `${location}${location.includes('?') ? '&' : '?'}${extra}`,
  );
  if (route.kind !== 'upload' || route.session === undefined) throw new Error('no running upload');
  return at.forUpstream(route.session, route.search);
}

function refusal(work: () => unknown): RegistryError | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof RegistryError) return error;
    throw error;
  }
  return undefined;
}

void t.test('there and back: the state of the registry survives, whatever the client adds', async (t) => {
  const at = locations();
  const state = '_state=Zx_-9%3D%3D&part=2';
  for (const location of [
    `https://central:5000/v2/team/app/blobs/uploads/3f7c-1?${state}`,
    `HTTPS://CENTRAL:5000/v2/team/app/blobs/uploads/3f7c-1?${state}`,
    `/v2/team/app/blobs/uploads/3f7c-1?${state}`,
  ]) {
    const here = at.forClient(location);
    t.equal(here, `/v2/central/team/app/blobs/uploads/3f7c-1?${state}`);
    t.equal(
      followed(at, here, 'digest=sha256:ab'),
      `/v2/team/app/blobs/uploads/3f7c-1?${state}&digest=sha256:ab`,
    );
  }
  t.equal(followed(at, at.forClient('/v2/team/app/blobs/uploads/x')), '/v2/team/app/blobs/uploads/x');
});

void t.test('the namespace goes with the client and not with the registry', async (t) => {
  const at = locations(undefined, { client: named('team/app'), namespace: 'central:5000' });
  const here = at.forClient('/v2/team/app/blobs/uploads/1?_state=s');
  t.equal(here, '/v2/team/app/blobs/uploads/1?_state=s&ns=central%3A5000');
  t.equal(followed(at, here, 'digest=d'), '/v2/team/app/blobs/uploads/1?_state=s&digest=d');
  t.equal(at.here('blobs/x'), '/v2/team/app/blobs/x?ns=central%3A5000');
});

void t.test('a project in the URL of the upstream is in every path', async (t) => {
  const at = locations('https://central/project');
  t.equal(at.path('manifests/v1'), '/v2/project/team/app/manifests/v1');
  t.equal(at.repository(named('other')), 'project/other');
  t.equal(
    at.forClient('https://central/v2/project/team/app/blobs/uploads/1'),
    '/v2/central/team/app/blobs/uploads/1',
  );
});

void t.test('locations of other shapes come back as they were said, and only so', async (t) => {
  const at = locations('https://ghcr.example');
  for (const said of [
    '/v2/team/app/blobs/upload/1-2',
    '/artifacts-uploads/namespaces/p/repositories/r/uploads/AJ+x=',
    '/v2/team/app/blobs/uploads/a/b?x=1',
    '/v2/team/app/blobs/uploads/a%2Fb?x=1',
    '/v2/team/app/blobs/uploads/1?ns=theirs',
    '/v2/other/app/blobs/uploads/1',
  ]) {
    const here = at.forClient(said);
    t.match(here, /^\/v2\/central\/team\/app\/blobs\/uploads\/~[\w-]+$/, said);
    t.equal(followed(at, here), said);
    t.equal(followed(at, here, 'digest=d'), `${said}${said.includes('?') ? '&' : '?'}digest=d`);
    // A seal holds for one repository of one upstream.
    for (const other of [
      locations('https://ghcr.example', { upstream: named('team/other') }),
      locations('https://ghcr.example', {}, 'another'),
      locations('https://other.example'),
    ])
      t.equal(refusal(() => followed(other, here))?.code, 'BLOB_UPLOAD_UNKNOWN');
    const session = here.slice(here.indexOf('~'));
    for (const at_ of [1, 5, 22, 23, session.length - 1]) {
      const changed = session.slice(0, at_) + (session[at_] === 'A' ? 'B' : 'A') + session.slice(at_ + 1);
      const forged = refusal(() => at.forUpstream(changed, ''));
      // The last character of base64 may hold bits that mean nothing.
      t.ok(
        forged?.code === 'BLOB_UPLOAD_UNKNOWN' || at.forUpstream(changed, '') === said,
        `changed at ${at_}`,
      );
    }
  }
  for (const made of ['~', '~x', `~${'A'.repeat(22)}`, `~${'A'.repeat(22)}${btoa('/v2/secret')}`])
    t.equal(refusal(() => at.forUpstream(made, ''))?.code, 'BLOB_UPLOAD_UNKNOWN', made);
});

void t.test('locations that lead elsewhere are refused', async (t) => {
  const at = locations('https://central:5000');
  for (const location of [
    'https://evil:5000/v2/team/app/blobs/uploads/1',
    'http://central:5000/v2/team/app/blobs/uploads/1',
    'https://central/v2/team/app/blobs/uploads/1',
    'https://central:5001/v2/team/app/blobs/uploads/1',
    'https://central:5000@evil/v2/team/app/blobs/uploads/1',
    'https://user:pw@central:5000/v2/team/app/blobs/uploads/1',
    'https://central:5000.evil/v2/x',
    String.raw`https://central:5000\@evil/v2/x`,
    '//evil/v2/team/app/blobs/uploads/1',
    '//central:5000/v2/team/app/blobs/uploads/1',
    '///evil/v2/x',
    String.raw`/\evil/v2/x`,
    String.raw`\\evil/v2/x`,
    'https:evil',
    'https:/evil/x',
    'file:///etc/passwd',
    'data:,x',
    'javascript:alert(1)',
    'ftp://central:5000/v2/x',
    'https://central:5000//evil/x',
    '/v2/team/app/blobs/uploads/../../../../other/blobs/uploads/1',
    '/v2/team/app/blobs/uploads/..',
    '/v2/team/app/blobs/uploads/%2e%2e/%2e%2e/x',
    '/v2/team/app/./blobs/uploads/1',
    '/v2/team/app/blobs/uploads/1#x',
    '/v2/team/app/blobs/uploads/1?',
    '/v2/team/app/blobs/uploads/a b',
    '/v2/team/app/blobs/uploads/1\r\nX: y',
    '/v2/team/app/blobs/uploads/1\t',
    ' /v2/team/app/blobs/uploads/1',
    '/v2/team/app/blobs/uploads/1?a=<b>',
    'uploads/1',
    '1?_state=x',
    '',
    `/v2/${'a'.repeat(3000)}`,
  ]) {
    const error = refusal(() => at.forClient(location));
    t.equal(error?.code, 'BAD_UPSTREAM', JSON.stringify(location));
    t.notMatch(error?.detail, /pw/, 'no credentials in what the client sees');
  }
});

void t.test('whatever an upstream says: refused, or a path of this edge that leads back to it', async (t) => {
  const at = locations('https://central:5000');
  const words = String.raw`/ / v2 team app blobs uploads .. . ~ %2e %2f \ ? # & ns= @ : https:// central:5000 evil é ' =`;
  const piece = fc.constantFrom(...words.split(' '), '\r\n', '\t', ' ');
  const location = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
    fc.array(piece, { maxLength: 6 }).map((pieces) => `/v2/team/app/blobs/uploads/${pieces.join('')}`),
    fc.array(piece, { maxLength: 6 }).map((pieces) => `https://central:5000/${pieces.join('')}`),
    fc.webUrl({ withQueryParameters: true }),
    fc.string({ unit: 'binary' }),
  );
  let accepted = 0;
  fc.assert(
    fc.property(location, (said) => {
      let here;
      try {
        here = at.forClient(said);
      } catch (error) {
        return error instanceof RegistryError && error.code === 'BAD_UPSTREAM';
      }
      accepted += 1;
      const back = followed(at, here);
      const meant = new URL(said, 'https://central:5000');
      return (
        here.startsWith('/v2/central/team/app/blobs/uploads/') &&
        meant.origin === 'https://central:5000' &&
        back === meant.pathname + meant.search
      );
    }),
    { numRuns: 5000 },
  );
  t.ok(accepted > 50, `${accepted} were accepted`);
});
