import * as fc from 'fast-check';
import t from 'tap';
import { CATALOG, isInScope, parseScopes } from '../../../src/access/edge/token-scope.ts';
import { parseRepositoryName } from '../../../src/oci/repository-name.ts';

void t.test('scopes as clients write them', async (t) => {
  const cases: [parameters: string[], scopes: unknown][] = [
    [[], []],
    [[''], []],
    [['repository:library/app:pull'], [{ name: 'library/app', actions: ['pull'] }]],
    [['repository:library/app:push,pull'], [{ name: 'library/app', actions: ['pull', 'push'] }]],
    [['repository:a:*'], [{ name: 'a', actions: ['pull', 'push', 'delete'] }]],
    [['repository(plugin):a:pull'], [{ name: 'a', actions: ['pull'] }]],
    [
      ['repository:a:pull repository:b:pull', 'repository:a:push,pull'],
      [
        { name: 'a', actions: ['pull', 'push'] },
        { name: 'b', actions: ['pull'] },
      ],
    ],
    [['registry:catalog:*'], [{ name: CATALOG, actions: ['*'] }]],
    [['repository:a:pull,unheard-of'], [{ name: 'a', actions: ['pull'] }]],
  ];
  for (const [parameters, scopes] of cases) t.same(parseScopes(parameters), scopes, parameters.join('|'));
});

void t.test('what is no scope grants nothing', async (t) => {
  const none = [
    'repository',
    'repository:',
    'repository:a',
    'repository:a:',
    'repository::pull',
    'repository:../a:pull',
    'repository:A:pull',
    'repository:a b:pull',
    'repository:a:PULL',
    'repository:registry.example:5000/a:pull',
    'repository(:a:pull',
    'Repository:a:pull',
    'registry:catalog:pull',
    'registry:other:*',
    'plugin:a:pull',
    ':::',
  ];
  for (const text of none) t.same(parseScopes([text.replace(' ', '%20')]), [], text);
  const scopes = (count: number): string[] =>
    Array.from({ length: count }, (_, at) => `repository:a${at}:pull`);
  t.equal(parseScopes(scopes(20))?.length, 20);
  t.equal(parseScopes(scopes(21)), undefined);
  t.equal(parseScopes([scopes(21).join(' ')]), undefined);
});

void t.test('whatever is sent, only names and actions of the grammar are in a scope', async () => {
  const near = fc.string({
    unit: fc.constantFrom(...Array.from('repository:catalog*,/. -_apulshde()%\0\n')),
    maxLength: 60,
  });
  const text = fc.oneof(
    near,
    near.map((rest) => `repository:${rest}`),
    fc.string({ unit: 'binary' }),
  );
  fc.assert(
    fc.property(fc.array(text, { maxLength: 5 }), (parameters) =>
      (parseScopes(parameters) ?? []).every(
        ({ name, actions }) =>
          (name === CATALOG && actions.join() === '*') ||
          (parseRepositoryName(name) !== undefined &&
            actions.length > 0 &&
            actions.every((action) => ['pull', 'push', 'delete'].includes(action))),
      ),
    ),
  );
});

void t.test('a scope is of one repository: no prefix, no other action', async (t) => {
  const scopes = parseScopes(['repository:team/app:pull']) ?? [];
  t.ok(isInScope(scopes, 'team/app', 'pull'));
  t.notOk(isInScope(scopes, 'team/app', 'push'));
  t.notOk(isInScope(scopes, 'team/app2', 'pull'));
  t.notOk(isInScope(scopes, 'team', 'pull'));
  t.notOk(isInScope(scopes, 'team/app/sub', 'pull'));
  t.notOk(isInScope([], 'team/app', 'pull'));
});
