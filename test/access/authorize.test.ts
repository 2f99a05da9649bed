import t from 'tap';
import { Access, type AccessParts, type Action } from '../../src/access/authorize.ts';
import type { Caller, Scope } from '../../src/access/caller.ts';
import { CATALOG } from '../../src/access/edge/token-scope.ts';
import { NO_IDENTIFICATION, type Identification } from '../../src/access/identification.ts';
import { Roles } from '../../src/access/roles.ts';
import type { RoleConfig } from '../../src/config/access/access-config.ts';
import { parseRepositoryName } from '../../src/oci/repository-name.ts';

const READER: RoleConfig = {
  role: 'reader',
  users: ['ada', 'eve'],
  groups: [],
  networks: [],
  repositories: ['team/**'],
};
const PULL_APP: Scope = { name: 'team/app', actions: ['pull'] };
const ALL: Scope = { name: CATALOG, actions: ['*'] };

function caller(user?: string, scopes?: readonly Scope[]): Caller {
  const identity = user === undefined ? undefined : ({ user, groups: [], by: 'htpasswd' } as const);
  return { address: '10.1.2.3', identity: identity && { ...identity, ...(scopes && { scopes }) } };
}

function wanted(text: string, action: Action = 'pull') {
  const name = parseRepositoryName(text);
  if (name === undefined) throw new Error(`not a name: ${text}`);
  return { repository: { upstream: 'central', name }, name, action, object: undefined, host: undefined };
}

interface Scene {
  readonly access: Access;
  /** How often a challenge for a repository was made. */
  readonly challenged: () => number;
}

function scene(parts: Partial<AccessParts> = {}, roles: readonly RoleConfig[] = []): Scene {
  let challenged = 0;
  const identification: Identification = {
    ...NO_IDENTIFICATION,
    challenges: (of, _origin, insufficient) => {
      if (of !== undefined) challenged += 1;
      return [insufficient === true ? 'insufficient' : 'who'];
    },
  };
  const access = new Access({
    identification,
    roles: new Roles(roles, 'edge'),
    forbiddenNames: [],
    ...parts,
  });
  return { access, challenged: () => challenged };
}

void t.test('one judgement: what is not permitted is refused, and to judge makes no error', async (t) => {
  const { access, challenged } = scene({ forbiddenNames: ['secret'] }, [READER]);
  for (const [who, what, error] of [
    [caller('ada'), wanted('team/app'), undefined],
    [caller('ada', [PULL_APP]), wanted('team/app'), undefined],
    [caller(), wanted('team/app'), { code: 'UNAUTHORIZED', challenges: ['who'] }],
    [caller(), wanted('team/secret'), { code: 'UNAUTHORIZED', challenges: ['who'] }],
    [caller('ada', [PULL_APP]), wanted('team/b'), { code: 'UNAUTHORIZED', challenges: ['insufficient'] }],
    [caller('ada'), wanted('team/secret'), { code: 'DENIED', hidden: true, message: 'forbidden name' }],
    [caller('ada'), wanted('other'), { code: 'DENIED', hidden: true }],
    [caller('ada'), wanted('other', 'push'), { code: 'DENIED', hidden: true }],
    [caller('ada'), wanted('team/app', 'push'), { code: 'DENIED', hidden: false }],
  ] as const) {
    const before = challenged();
    t.equal(access.permits(who, what), error === undefined);
    t.equal(challenged(), before, 'no challenge for a question that no client hears the answer of');
    const asked = async (): Promise<unknown> => await access.authorize(who, what);
    if (error === undefined) t.match(await asked(), what.repository);
    else await t.rejects(asked(), error);
  }
});

void t.test(
  'without roles a list is shown whole, but not to a token that is for something else',
  async (t) => {
    const { access } = scene();
    t.equal(access.visibleTo(caller('ada')), undefined);
    t.equal(access.visibleTo(caller('ada', [ALL, PULL_APP])), undefined);
    t.same(access.visibleTo(caller('ada', [PULL_APP]))?.only, new Set(['team/app']));
    t.same(access.visibleTo(caller('ada', [{ name: 'b', actions: ['push'] }]))?.only, new Set());
    t.same(access.visibleTo(caller('ada', []))?.only, new Set(), 'a login');
  },
);

void t.test('with roles it shows what they allow, whatever the token is for', async (t) => {
  const { access } = scene({}, [READER]);
  const sees = (who: Caller, text: string): boolean | undefined => {
    const { repository, name } = wanted(text);
    return access.visibleTo(who)?.repository(repository, name);
  };
  for (const scopes of [undefined, [ALL], [PULL_APP]]) {
    t.equal(sees(caller('ada', scopes), 'team/app'), true);
    t.equal(sees(caller('ada', scopes), 'other'), false);
  }
  t.equal(sees(caller(), 'team/app'), false);
  t.equal(access.visibleTo(caller('ada', [ALL]))?.only, undefined);
  const to = (who: Caller): unknown => access.visibleTo(who)?.to;
  t.equal(to(caller('ada')), to(caller('ada', [PULL_APP])), 'one list for all tokens of a holder');
  t.not(to(caller('ada')), to(caller('bob')));
});
