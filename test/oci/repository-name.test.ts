import * as fc from 'fast-check';
import t from 'tap';
import { parseRepositoryName } from '../../src/oci/repository-name.ts';
import { repositoryKey } from '../../src/oci/repository-ref.ts';

/** As the distribution spec writes it. */
const SPEC = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;

const alphanumeric = fc.string({ unit: fc.constantFrom(...Array.from('az09')), minLength: 1, maxLength: 9 });
const separator = fc.constantFrom('.', '_', '__', '-', '---', '/');
const specName = fc
  .tuple(alphanumeric, fc.array(fc.tuple(separator, alphanumeric), { maxLength: 60 }))
  .map(([first, rest]) => first + rest.flat().join(''));

void t.test('takes what the spec takes, up to 255 characters', async (t) => {
  const near = fc.string({
    unit: fc.constantFrom(...Array.from('aaz09./_--'), '__', 'A', '%', ' ', 'é'),
    maxLength: 12,
  });
  fc.assert(
    fc.property(near, (text) => (parseRepositoryName(text) === undefined) === !SPEC.test(text)),
    { numRuns: 20_000 },
  );
  fc.assert(
    fc.property(specName, (text) => {
      if (!SPEC.test(text)) return false;
      return parseRepositoryName(text) === (text.length <= 255 ? text : undefined);
    }),
  );
  for (const name of ['a', 'library/alpine', 'a/b/c/d', 'a.b_c__d-e---f', '0', 'manifests', 'blobs/uploads'])
    t.equal(parseRepositoryName(name), name);
  t.equal(parseRepositoryName('a'.repeat(255))?.length, 255);
  t.equal(parseRepositoryName('a'.repeat(256)), undefined);
});

void t.test('nothing that could leave a folder', async (t) => {
  const wrong = ['', '/', 'a/', '/a', 'a//b', '.', '..', 'a/..', '../a', 'a/../b', 'a/.', '.a', 'a.', 'a..b'];
  const odd = [
    'A',
    'a_',
    'a___b',
    '-a',
    'a-',
    'a\\b',
    'a\0',
    'a\n',
    '\na',
    'a b',
    'a:b',
    'a@b',
    'a%2fb',
    'á',
  ];
  for (const name of [...wrong, ...odd, '_manifests', 'a/_manifests'])
    t.equal(parseRepositoryName(name), undefined, JSON.stringify(name));
});

void t.test('a megabyte of anything is refused', async (t) => {
  for (const piece of ['a', 'a-', '-', 'a/', '/', 'a_', '_', 'a.', '.', 'a__', 'a-----', '\0'])
    for (const end of ['', '!', '-', '/'])
      t.equal(parseRepositoryName(piece.repeat(Math.ceil((1 << 20) / piece.length)) + end), undefined);
  // The longest that is looked at, in the forms on which a backtracking pattern of this language takes for ever.
  for (const piece of ['a-', 'a--', 'a__', 'a.', 'a', 'a-b_c.'])
    for (const end of ['!', '-!', '_!', '.!'])
      t.equal(parseRepositoryName(piece.repeat(250).slice(0, 253) + end), undefined);
});

void t.test('keys of different repositories differ', async () => {
  const upstream = fc.stringMatching(/^[a-z0-9.:-]{1,9}$/);
  const name = specName;
  fc.assert(
    fc.property(upstream, name, upstream, name, (upstreamA, textA, upstreamB, textB) => {
      const [nameA, nameB] = [parseRepositoryName(textA), parseRepositoryName(textB)];
      if (nameA === undefined || nameB === undefined) return true;
      const same = upstreamA === upstreamB && nameA === nameB;
      const keys = [
        repositoryKey({ upstream: upstreamA, name: nameA }),
        repositoryKey({ upstream: upstreamB, name: nameB }),
      ];
      return (keys[0] === keys[1]) === same;
    }),
  );
});
