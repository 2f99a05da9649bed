import * as fc from 'fast-check';
import t from 'tap';
import { NamePattern } from '../../src/access/name-pattern.ts';
import { parseRepositoryName, type RepositoryName } from '../../src/oci/repository-name.ts';

function name(text: string): RepositoryName {
  const parsed = parseRepositoryName(text);
  if (parsed === undefined) throw new Error(`not a name: ${text}`);
  return parsed;
}

function matches(pattern: string, text: string): boolean {
  return new NamePattern(pattern).matches(name(text));
}

void t.test('what stars stand for', async (t) => {
  const cases: [pattern: string, matching: string[], others: string[]][] = [
    ['team/app', ['team/app'], ['team/app2', 'xteam/app', 'team/app/x', 'team', 'app', 'a/team/app']],
    ['team/*', ['team/app', 'team/a-b'], ['team', 'team/app/x', 'teams/app', 'x/team/app']],
    ['team/app-*', ['team/app-1', 'team/app-x-y'], ['team/app', 'team/app-1/x']],
    ['*/app', ['a/app', 'b/app'], ['app', 'a/b/app', 'a/app2']],
    ['*', ['app'], ['team/app']],
    ['te*m/*-*-x', ['team/a-b-x', 'tem/a-b-c-x'], ['team/a-x', 'team/ab-x']],
    ['**', ['a', 'a/b', 'a/b/c'], []],
    ['team/**', ['team', 'team/a', 'team/a/b'], ['teams', 'teams/a', 'a/team']],
    ['**/app', ['app', 'a/app', 'a/b/app'], ['a/app/b', 'xapp', 'a/xapp']],
    ['a/**/z', ['a/z', 'a/b/z', 'a/b/c/z'], ['a', 'z', 'a/b', 'x/a/z', 'a/z/y']],
    ['**/a/**/a/**', ['a/a', 'x/a/y/a/z'], ['a', 'x/a/y']],
    ['a.b/c', ['a.b/c'], ['axb/c']],
  ];
  for (const [pattern, matching, others] of cases) {
    for (const text of matching) t.ok(matches(pattern, text), `${pattern} matches ${text}`);
    for (const text of others) t.notOk(matches(pattern, text), `${pattern} does not match ${text}`);
  }
});

/** By the words of the definition, trying everything. */
function naive(pattern: readonly string[], parts: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return parts.length === 0;
  if (first === '**') return naive(rest, parts) || (parts.length > 0 && naive(pattern, parts.slice(1)));
  const [part] = parts;
  return part !== undefined && naiveGlob(first, part) && naive(rest, parts.slice(1));
}

function naiveGlob(glob: string, text: string): boolean {
  if (glob === '') return text === '';
  if (glob.startsWith('*'))
    return naiveGlob(glob.slice(1), text) || (text !== '' && naiveGlob(glob, text.slice(1)));
  return glob[0] === text[0] && naiveGlob(glob.slice(1), text.slice(1));
}

void t.test('for every pattern and name the definition holds', async (t) => {
  const letter = fc.constantFrom('a', 'b');
  const part = fc.string({ unit: letter, minLength: 1, maxLength: 5 });
  const glob = fc
    .array(fc.constantFrom('a', 'b', '*'), { minLength: 1, maxLength: 5 })
    .map((pieces) => pieces.join('').replaceAll(/\*+/g, '*'));
  const component = fc.oneof(glob, fc.constant('**'));
  fc.assert(
    fc.property(
      fc.array(component, { minLength: 1, maxLength: 5 }),
      fc.array(part, { minLength: 1, maxLength: 5 }),
      (pattern, parts) => matches(pattern.join('/'), parts.join('/')) === naive(pattern, parts),
    ),
    { numRuns: 3000 },
  );
  t.pass('property held');
});

void t.test('no pattern and no name takes long', async (t) => {
  const long = 'a'.repeat(255);
  const deep = `${'a/'.repeat(127)}a`;
  const hostile: [pattern: string, text: string][] = [
    [`${'*a'.repeat(126)}*b`, long],
    [`${'**/'.repeat(84)}b`, deep],
    [`${'**/a/'.repeat(50)}b`, deep],
    [`${'**/*a*/'.repeat(36)}b`, deep],
  ];
  // Thousands of times each: what goes back over the name would not come to its end once.
  for (const [pattern, text] of hostile) {
    const compiled = new NamePattern(pattern);
    const hostileName = name(text);
    let matched = 0;
    for (let times = 0; times < 1000; times += 1) if (compiled.matches(hostileName)) matched += 1;
    t.equal(matched, 0, pattern.slice(0, 20));
  }
});
