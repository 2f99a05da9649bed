import * as fc from 'fast-check';
import t from 'tap';
import type { Caller } from '../../src/access/caller.ts';
import { Roles, type Action } from '../../src/access/roles.ts';
import type { RoleConfig } from '../../src/config/access/access-config.ts';
import { parseRepositoryName } from '../../src/oci/repository-name.ts';
import type { RepositoryRef } from '../../src/oci/repository-ref.ts';

function role(of: Partial<RoleConfig>): RoleConfig {
  return { role: 'reader', users: [], groups: [], networks: [], repositories: [], ...of };
}

function caller(user?: string, groups: readonly string[] = [], address = '10.1.2.3'): Caller {
  return { address, identity: user === undefined ? undefined : { user, groups, by: 'htpasswd' } };
}

function at(text: string, upstream = 'central'): RepositoryRef {
  const name = parseRepositoryName(text);
  if (name === undefined) throw new Error(`not a name: ${text}`);
  return { upstream, name };
}

function able(roles: Roles, who: Caller, repository: RepositoryRef): Action[] {
  const actions: Action[] = ['pull', 'push', 'delete'];
  return actions.filter((action) => roles.granting(who, repository, action) !== undefined);
}

void t.test('without roles the mode alone decides', async (t) => {
  for (const [mode, nobody, ada] of [
    ['none', 'network', 'htpasswd'],
    ['upstream', 'network', 'htpasswd'],
    ['edge', undefined, 'htpasswd'],
  ] as const) {
    const roles = new Roles([], mode);
    t.equal(roles.granting(caller(), at('a'), 'push'), nobody, mode);
    t.equal(roles.granting(caller('ada'), at('a'), 'push'), ada, mode);
    t.equal(roles.anything(caller()), nobody !== undefined, mode);
    t.notOk(roles.isOperator(caller('ada')), 'nobody is an operator whom nothing makes one');
  }
});

void t.test('with one role, whoever has none may do nothing', async (t) => {
  const roles = new Roles([role({ users: ['ada'], repositories: ['team/*'] })], 'edge');
  t.same(able(roles, caller('ada'), at('team/app')), ['pull']);
  t.equal(roles.granting(caller('ada'), at('team/app'), 'pull'), 'role reader, roles[0]');
  t.same(able(roles, caller('ada'), at('other/app')), []);
  t.same(able(roles, caller('bob'), at('team/app')), []);
  t.same(able(roles, caller(), at('team/app')), []);
  t.ok(roles.anything(caller('ada')));
  t.notOk(roles.anything(caller('bob')));
});

void t.test('what each role lets do', async (t) => {
  for (const [name, actions, operator] of [
    ['reader', ['pull'], false],
    ['publisher', ['pull', 'push', 'delete'], false],
    ['operator', [], true],
  ] as const) {
    const roles = new Roles([role({ role: name, users: ['ada'] })], 'edge');
    t.same(able(roles, caller('ada'), at('a/b/c')), actions, name);
    t.equal(roles.isOperator(caller('ada')), operator, name);
    t.equal(roles.anything(caller('ada')), actions.length > 0, name);
    t.notOk(roles.isOperator(caller('bob')), name);
  }
});

void t.test('users or groups, and networks', async (t) => {
  const networks = ['10.0.0.0/8', '2001:db8::/32'];
  const roles = new Roles(
    [
      role({ users: ['ada'], groups: ['ops'], networks }),
      role({ networks: ['192.168.7.0/24'], repositories: ['open/*'] }),
      role({ users: ['*'], repositories: ['known'] }),
    ],
    'edge',
  );
  const may = (who: Caller, name = 'a/b'): boolean => able(roles, who, at(name)).length > 0;
  t.ok(may(caller('ada')));
  t.ok(may(caller('bob', ['ops'])));
  t.ok(may(caller('bob', ['dev', 'ops'], '2001:db8::7')));
  t.notOk(may(caller('ada', [], '11.0.0.1')), 'not from elsewhere');
  t.notOk(may(caller('bob', ['ops'], '2001:db9::7')));
  t.notOk(may(caller('ops', ['ada'])), 'a user is no group');
  t.notOk(may(caller(undefined)), 'a network beside users lets in nobody without a name');
  t.ok(may(caller(undefined, [], '192.168.7.9'), 'open/x'), 'a network alone lets in whoever is there');
  t.ok(may(caller('bob', [], '192.168.7.9'), 'open/x'));
  t.notOk(may(caller(undefined, [], '192.168.7.9')));
  t.ok(may(caller('anyone', [], '172.16.0.1'), 'known'));
  t.notOk(may(caller(undefined, [], '172.16.0.1'), 'known'));
  t.notOk(may(caller('anyone', [], '172.16.0.1')));
});

void t.test('of one upstream, and of that name alone', async (t) => {
  const roles = new Roles(
    [role({ users: ['ada'], upstream: 'central', repositories: ['other/**', 'team/app'] })],
    'edge',
  );
  t.same(able(roles, caller('ada'), at('other/x')), ['pull']);
  t.same(able(roles, caller('ada'), at('x', 'other')), [], 'the upstream of the same name is another');
  t.same(able(roles, caller('ada'), at('other/x', 'other')), []);
  t.same(able(roles, caller('ada'), at('team/app-private')), []);
  t.same(able(roles, caller('ada'), at('team/app/private')), []);
  t.ok(roles.anything(caller('ada'), 'central'));
  t.notOk(roles.anything(caller('ada'), 'other'));
});

void t.test('no name or group can be made to look like another caller in what is remembered', async (t) => {
  const roles = new Roles(
    [role({ users: ['0', 'ada'], groups: ['ops', '1'], networks: ['10.0.0.0/8'] })],
    'edge',
  );
  t.same(able(roles, caller('ada', ['ops']), at('a')), ['pull']);
  for (const [user, groups] of [
    ['1', []],
    ['1/0', []],
    ['ada/', []],
    ['/0', []],
    ['nobody', []],
    ['ada\u0000', ['']],
    ['', ['ops,1', '0', 'ada']],
    ['__proto__', ['constructor']],
  ] as const)
    t.same(able(roles, caller(user, groups), at('a')), [], JSON.stringify(user));
  t.same(able(roles, caller(undefined, []), at('a')), []);
});

void t.test('what is remembered is what would be found anew', async (t) => {
  const pick = <T>(...of: T[]): fc.Arbitrary<T> => fc.constantFrom(...of);
  const some = (...of: string[]): fc.Arbitrary<string[]> => fc.subarray(of, { maxLength: 2 });
  const anyRole = fc.record({
    role: pick('reader' as const, 'publisher' as const, 'operator' as const),
    users: some('ada', 'bob', '*'),
    groups: some('ops', 'dev'),
    networks: some('10.1.0.0/16', '10.2.0.0/16'),
    repositories: some('a/*', 'b', '**/c'),
  });
  const question = fc.record({
    user: pick(undefined, 'ada', 'bob', 'eve'),
    groups: some('ops', 'dev', 'none'),
    address: pick('10.1.0.1', '10.2.0.1', '10.3.0.1'),
    name: pick('a/x', 'b', 'a/c', 'c'),
    action: pick<Action>('pull', 'push', 'delete'),
  });
  fc.assert(
    fc.property(
      fc.array(anyRole, { maxLength: 4 }),
      fc.array(question, { minLength: 1, maxLength: 20 }),
      (of, asked) => {
        const roles = new Roles(of, 'edge');
        return asked.every(({ user, groups, address, name, action }) => {
          const who = caller(user, user === undefined ? [] : groups, address);
          const anew = new Roles(of, 'edge');
          return (
            roles.granting(who, at(name), action) === anew.granting(who, at(name), action) &&
            roles.isOperator(who) === anew.isOperator(who) &&
            (roles.granting(who, at(name), 'push') === undefined ||
              roles.granting(who, at(name), 'pull') !== undefined)
          );
        });
      },
    ),
  );
  t.pass('property held');
});
