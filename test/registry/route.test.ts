import * as fc from 'fast-check';
import t from 'tap';
import { ERROR_CODES, RegistryError, type ErrorCode } from '../../src/oci/error-codes.ts';
import { FIRST_PAGE, MAX_PAGE_ENTRIES } from '../../src/oci/page.ts';
import { parseTarget, type Route, type Target } from '../../src/registry/route.ts';
import { PATH_TRICKS } from './path-tricks.ts';

const HEX = 'a'.repeat(64);
const DIGEST = `sha256:${HEX}`;

function refusal(target: string): ErrorCode | Target {
  try {
    return parseTarget(target);
  } catch (error) {
    if (error instanceof RegistryError) return error.code;
    throw error;
  }
}

const route = (target: string): Route => parseTarget(target).route;

void t.test('the routes of the spec', async (t) => {
  t.strictSame(route('/v2/'), { kind: 'ping' });
  t.strictSame(route('/v2'), { kind: 'ping' });
  t.strictSame(route('/v2/_catalog'), { kind: 'catalog', page: FIRST_PAGE });
  t.strictSame(route('/v2/a/b/manifests/latest'), {
    kind: 'manifest',
    name: 'a/b',
    reference: { kind: 'tag', tag: 'latest' },
  });
  const byDigest = { kind: 'manifest', name: 'a', reference: { kind: 'digest', digest: DIGEST } };
  for (const colon of [':', '%3a', '%3A'])
    t.strictSame(route(`/v2/a/manifests/sha256${colon}${HEX}`), byDigest);
  t.strictSame(route(`/v2/a/blobs/${DIGEST}`), { kind: 'blob', name: 'a', digest: DIGEST });
  const page = { n: 5, last: 'x', cursor: undefined };
  t.strictSame(route('/v2/a/tags/list?n=5&last=x&other=1'), { kind: 'tags', name: 'a', page });
  t.strictSame(route('/v2/a/tags/list?last='), { kind: 'tags', name: 'a', page: FIRST_PAGE });
  const referrers = { kind: 'referrers', name: 'a', digest: DIGEST, page: FIRST_PAGE };
  t.strictSame(route(`/v2/a/referrers/${DIGEST}`), { ...referrers, artifactType: undefined });
  t.strictSame(route(`/v2/a/referrers/${DIGEST}?artifactType=a%2Fb%2Bjson`), {
    ...referrers,
    artifactType: 'a/b+json',
  });
  for (const upload of ['uploads', 'uploads/', 'uploads/3f7c', `uploads/?mount=${DIGEST}&from=b`])
    t.match(route(`/v2/a/blobs/${upload}`), { kind: 'upload', name: 'a' }, upload);
  t.match(route('/v2/a/blobs/uploads/?mount=x&from=b'), { session: undefined, search: 'mount=x&from=b' });
  t.match(route('/v2/a/blobs/uploads/3f7c?_state=aB_-%3D'), { session: '3f7c', search: '_state=aB_-%3D' });
});

void t.test('what a list is asked for with', async (t) => {
  const lists = ['/v2/a/tags/list', `/v2/a/referrers/${DIGEST}`, '/v2/_catalog'];
  for (const list of lists) {
    t.match(route(`${list}?n=999999999`), { page: { n: MAX_PAGE_ENTRIES } }, 'bounded, not refused');
    t.match(route(`${list}?cursor=next_page%3DgAAA%253D%253D`), { page: { cursor: 'next_page=gAAA%3D%3D' } });
    for (const query of ['last=a%0d%0ab', 'last=%00', 'last=a%20b', `last=${'a'.repeat(513)}`, 'last=é'])
      t.equal(refusal(`${list}?${query}`), 'NAME_INVALID', query);
    for (const query of ['cursor=a%20b', 'cursor=%26a%26a', `cursor=${'a'.repeat(1025)}`, 'cursor=a%0a'])
      t.equal(refusal(`${list}?${query}`), 'NAME_INVALID', query);
    for (const query of ['last=a&last=b', 'cursor=a&cursor=a', 'n=1&n=1'])
      t.equal(refusal(`${list}?${query}`), 'NAME_INVALID', query);
    for (const n of ['-1', 'x', '', '1e9']) t.equal(refusal(`${list}?n=${n}`), 'SIZE_INVALID', n);
  }
  for (const type of ['a%20b', 'a%0db', 'a'.repeat(256), 'x&artifactType=y'])
    t.equal(refusal(`/v2/a/referrers/${DIGEST}?artifactType=${type}`), 'NAME_INVALID', type);
});

void t.test('repositories that are called like routes', async (t) => {
  t.match(route('/v2/manifests/manifests/latest'), { kind: 'manifest', name: 'manifests' });
  t.match(route(`/v2/a/manifests/b/blobs/${DIGEST}`), { kind: 'blob', name: 'a/manifests/b' });
  t.match(route('/v2/a/tags/list/tags/list'), { kind: 'tags', name: 'a/tags/list' });
  t.match(route('/v2/a/blobs/uploads/manifests/x'), { kind: 'manifest', name: 'a/blobs/uploads' });
  t.match(route('/v2/v2/manifests/x'), { kind: 'manifest', name: 'v2' });
});

void t.test('the namespace, and what is asked twice', async (t) => {
  t.equal(parseTarget('/v2/').namespace, undefined);
  t.equal(parseTarget('/v2/a/manifests/x?ns=docker.io').namespace, 'docker.io');
  t.equal(parseTarget('/v2/a/manifests/x?ns=').namespace, '');
  t.equal(refusal('/v2/a/manifests/x?ns=a&ns=b'), 'NAME_INVALID');
  t.equal(refusal('/v2/a/manifests/x?ns=a&n%73=b'), 'NAME_INVALID');
  for (const n of ['-1', 'x', '', '1e9', '1'.repeat(10), '1&n=2'])
    t.equal(refusal(`/v2/a/tags/list?n=${n}`), n.includes('&') ? 'NAME_INVALID' : 'SIZE_INVALID', n);
});

void t.test('tricks on every parameter are refused with 400 or 404', async (t) => {
  t.ok(PATH_TRICKS.length >= 50);
  const parameters: Record<string, (trick: string) => string> = {
    name: (trick) => `/v2/${trick}/manifests/latest`,
    'front of a name': (trick) => `/v2/${trick}/app/blobs/${DIGEST}`,
    'end of a name': (trick) => `/v2/app/${trick}/tags/list`,
    'middle of a name': (trick) => `/v2/a/${trick}/b/referrers/${DIGEST}`,
    'part of a component': (trick) => `/v2/a${trick}b/blobs/uploads/`,
    reference: (trick) => `/v2/a/manifests/${trick}`,
    digest: (trick) => `/v2/a/blobs/${trick}`,
    'digest of referrers': (trick) => `/v2/a/referrers/${trick}`,
    'end of a digest': (trick) => `/v2/a/blobs/${DIGEST}${trick}`,
    'front of a digest': (trick) => `/v2/a/blobs/${trick}${DIGEST}`,
    'word of the route': (trick) => `/v2/a/manifests${trick}/latest`,
    'front of the path': (trick) => `/v2${trick}/a/manifests/latest`,
    'the whole path': (trick) => `/${trick}`,
  };
  for (const [parameter, place] of Object.entries(parameters)) {
    const passed = PATH_TRICKS.filter((trick) => !refused(place(trick)));
    t.strictSame(
      passed.filter((trick) => !isPlain(place(trick))),
      [],
      parameter,
    );
    t.ok(
      PATH_TRICKS.length - passed.length >= 50,
      `${PATH_TRICKS.length - passed.length} refused: ${parameter}`,
    );
  }
});

/** Refused with 400 or 404, in words that can stand in a log line. */
function refused(target: string): boolean {
  const answer = refusal(target);
  if (typeof answer !== 'string') return false;
  const { status } = ERROR_CODES[answer];
  return status === 400 || status === 404;
}

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const PLAIN = new RegExp(
  `^/v2/?$|^/v2/${COMPONENT}(?:/${COMPONENT})*/(?:manifests/[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}|` +
    `(?:manifests|blobs|referrers)/sha256(?::|%3a)[0-9a-f]{64}|tags/list|blobs/uploads/)$`,
  'i',
);

/** Not every trick is one in every place: `a/` before `b` makes the repository `a/b`, and after a `?` stands a query. */
function isPlain(target: string): boolean {
  const [path = ''] = target.split('?');
  return PLAIN.test(path);
}

void t.test('sessions and queries of uploads that are none', async (t) => {
  for (const session of ['..', '.', 'a:b', 'a;b', 'a=b', 'a@b', 'a+b', 'a\\b', '(a)'])
    t.equal(refusal(`/v2/a/blobs/uploads/${session}`), 'BLOB_UPLOAD_UNKNOWN', session);
  for (const session of ['%2e%2e', 'a%2fb', 'a%0d%0ab'])
    t.equal(refusal(`/v2/a/blobs/uploads/${session}`), 'NAME_INVALID', session);
  for (const query of ['a b', 'a\rb', 'a\nb', "'", '"', '<', '\\', '\0', 'é'])
    t.equal(refusal(`/v2/a/blobs/uploads/1?${query}`), 'NAME_INVALID', query);
});

void t.test('any path: refused, or parsed into parts without a way out', async (t) => {
  const piece = fc.constantFrom(
    '/',
    '/',
    '/',
    'a',
    'b1',
    'manifests',
    'blobs',
    'uploads',
    'tags',
    'list',
    'referrers',
    '_catalog',
    'v2',

    '..',
    '.',
    '%2e',
    '%2f',
    '%3a',
    '%00',
    '\\',
    '\0',
    ':',
    DIGEST,
    HEX,
    'sha256',
    '?',
    'ns=',
    '&',
    '#',
    'é',
  );
  const target = fc.oneof(
    fc.array(piece, { maxLength: 10 }).map((pieces) => `/v2/${pieces.join('')}`),
    fc
      .tuple(
        fc.array(piece, { maxLength: 4 }),
        fc.constantFrom('manifests/', 'blobs/', 'tags/', 'referrers/'),
        piece,
      )
      .map(([name, word, last]) => `/v2/a${name.join('')}/${word}${last}`),
    fc.string({ unit: 'binary' }).map((text) => `/v2/a/${text}`),
    fc.webUrl({ withQueryParameters: true }).map((url) => new URL(url).pathname),
  );
  let parsed = 0;
  fc.assert(
    fc.property(target, (target) => {
      const answer = refusal(target);
      if (typeof answer === 'string') return refused(target);
      parsed += 1;
      const { route } = answer;
      // The query of an upload may hold escapes: a registry's state goes through as it is.
      const parts = route.kind === 'upload' ? [route.name, route.session] : route;
      return texts(parts).every(
        (text) => !['%', '\\', '\0'].some((mark) => text.includes(mark)) && !text.split('/').some(isDots),
      );
    }),
    { numRuns: 10_000 },
  );
  t.ok(parsed > 100, `${parsed} were routes`);
});

function texts(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null || value instanceof URLSearchParams) return [];
  return Object.values(value).flatMap(texts);
}

const isDots = (component: string): boolean => component === '' || /^\.+$/.test(component);

void t.test('other paths are not served', async (t) => {
  for (const path of [
    '/',
    '',
    '/v1/',
    '/v2a/',
    '//v2/',
    '/V2/',
    'v2/',
    '*',
    '/v2/a',
    '/v2/a/',
    '/v2/a/manifests',
  ])
    t.equal(refusal(path), 'NAME_UNKNOWN', path);
  for (const path of ['/v2/a/b/c', '/v2/_catalog/x', '/v2/a/tags/lists', 'http://host/v2/', '/v2/manifests'])
    t.equal(refusal(path), 'NAME_UNKNOWN', path);
  t.equal(refusal('/v2/manifests/latest'), 'NAME_INVALID');
  for (const escaped of [
    '/v2/%61/manifests/x',
    '/v2/a/manifests/%78',
    '/v2/a/t%61gs/list',
    '/%762/',
    '/v2/a/blobs/%',
  ])
    t.equal(refusal(escaped), 'NAME_INVALID', `${escaped}: what needs no escape has one reading only`);
});

void t.test('a target of a megabyte, and errors that fit a log line', async (t) => {
  for (const piece of ['a', '/', '../', '%3a', '%', 'a/manifests/', 'ns=a&'])
    t.equal(refusal(`/v2/${piece.repeat(Math.ceil((1 << 20) / piece.length))}`), 'NAME_INVALID');
  for (const text of ['x'.repeat(4000), '\u001b[31m\u0007', '\u2028\r\n']) {
    for (const target of [`/v2/${text}/manifests/x`, `/v2/a/manifests/-${text}`, `/v2/a/blobs/${text}`])
      t.match(thrown(target), { name: 'RegistryError', message: /^[^\p{Cc}]{1,300}$/u });
  }
});

function thrown(target: string): unknown {
  try {
    return parseTarget(target);
  } catch (error) {
    return error;
  }
}
