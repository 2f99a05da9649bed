import type { z } from 'zod';
import type { Problem } from '../problem.ts';
import { choiceField, listOf, section, textField } from '../fields.ts';
import { ROLES, type AuthConfig, type RoleConfig } from './access-config.ts';
import { networkList } from './networks.ts';

const MAX_ROLES = 1000;
const NAME_FORM = 'a name of at most 255 characters, without control characters';
const PATTERN_FORM =
  'a pattern over repository names: lower-case letters, digits and . _ - /, with * for any part of a component and ** for any number of components';

export function rolesSchema() {
  const names = listOf(textField(parsePrincipal, NAME_FORM), NAME_FORM).default([]);
  return listOf(
    section({
      role: choiceField(ROLES),
      users: names,
      groups: names,
      networks: networkList().default([]),
      upstream: textField((text) => (text === '' ? undefined : text), 'the name of an upstream').optional(),
      repositories: listOf(textField(parsePattern, PATTERN_FORM), PATTERN_FORM).default([]),
    }),
    'roles, each with role and whom it is for',
  )
    .max(MAX_ROLES, { error: `is too long; takes at most ${MAX_ROLES} roles` })
    .default([]);
}

/** What can only be checked against other keys adds to `problems`. */
export function completeRoles(
  parsed: z.output<ReturnType<typeof rolesSchema>>,
  upstreams: readonly string[],
  { mode }: AuthConfig,
): { readonly roles: readonly RoleConfig[]; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const roles = parsed.map(({ upstream, ...role }, at): RoleConfig => {
    const key = `roles[${at}]`;
    if (upstream !== undefined && !upstreams.includes(upstream))
      problems.push({
        key: `${key}.upstream`,
        message: `is no upstream; takes one of ${upstreams.join(', ')}`,
      });
    const named = role.users.length + role.groups.length > 0;
    if (named && mode !== 'edge')
      problems.push({
        key,
        message: `names users or groups, which only auth.mode edge knows; takes networks with auth.mode ${mode}`,
      });
    if (!named && role.networks.length === 0)
      problems.push({ key, message: 'is for nobody; takes users, groups or networks' });
    return upstream === undefined ? role : { ...role, upstream };
  });
  return { roles, problems };
}

function parsePrincipal(text: string): string | undefined {
  return text !== '' && text.length <= 255 && !/\p{Cc}/u.test(text) ? text : undefined;
}

function parsePattern(text: string): string | undefined {
  return /^[a-z0-9._/*-]{1,255}$/.test(text) ? text : undefined;
}
