import type { z } from 'zod';
import type { UpstreamName } from '../../oci/image-reference.ts';
import { refusal, type Problem } from '../problem.ts';
import { choiceField, listOf, section, textField } from '../fields.ts';
import { ROLES, type AuthConfig, type RoleConfig } from './access-config.ts';
import { networkList } from './networks.ts';

const MAX_ROLES = 10_000;
const MAX_PATTERN_LENGTH = 255;
const NAME_FORM = 'a name of at most 255 characters, without control characters';
const GROUP_FORM = `${NAME_FORM}; whoever is known is * in users`;
const PATTERN_FORM =
  'a pattern over whole repository names, components joined by /: lower-case letters, digits and . _ -, * for any part of a component, ** alone for any number of components';
const COMPONENT = /^[a-z0-9._*-]+$/;

export function rolesSchema() {
  const names = listOf(textField(parsePrincipal, NAME_FORM), NAME_FORM).default([]);
  return listOf(
    section({
      role: choiceField(ROLES),
      users: names,
      groups: listOf(textField(parseGroup, GROUP_FORM), GROUP_FORM).default([]),
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
  upstreams: readonly UpstreamName[],
  mode: AuthConfig['mode'],
): { readonly roles: readonly RoleConfig[]; readonly problems: readonly Problem[] } {
  const roles = parsed.map(({ upstream, ...role }): RoleConfig =>
    upstream === undefined ? role : { ...role, upstream },
  );
  const problems = roles.flatMap((role, at) =>
    [...whomProblems(role, mode), ...whereProblems(role, upstreams)].map(({ key, message }) => ({
      key: `roles[${at}]${key}`,
      message,
    })),
  );
  return { roles, problems };
}

function* whomProblems(
  { role, users, groups, networks }: RoleConfig,
  mode: AuthConfig['mode'],
): Generator<Problem> {
  const named = users.length + groups.length > 0;
  if (named && mode !== 'edge')
    yield {
      key: '',
      message: `names users or groups, which only auth.mode edge knows; takes networks with auth.mode ${mode}`,
    };
  else if (!named && role === 'operator')
    yield {
      key: '',
      message: 'makes operators of whole networks; takes users or groups, and networks besides them only',
    };
  else if (!named && networks.length === 0)
    yield { key: '', message: 'is for nobody; takes users, groups or networks' };
}

function* whereProblems(
  { role, upstream, repositories }: RoleConfig,
  upstreams: readonly UpstreamName[],
): Generator<Problem> {
  const meant = upstreams.filter(({ name }) => upstream === undefined || upstream === name);
  if (meant.length === 0)
    yield {
      key: '.upstream',
      message: refusal(upstream, `the name of an upstream: ${upstreams.map(({ name }) => name).join(', ')}`),
    };
  if (role === 'operator') {
    const limits = { upstream, repositories: repositories[0] };
    for (const [key, value] of Object.entries(limits))
      if (value !== undefined)
        yield {
          key: `.${key}`,
          message: 'limits nothing: an operator has the admin API as a whole; leave it out',
        };
    return;
  }
  const [official] = meant.map(({ officialNamespace }) => officialNamespace);
  if (official === undefined || meant.some(({ officialNamespace }) => officialNamespace === undefined))
    return;
  for (const [at, pattern] of repositories.entries())
    if (!pattern.includes('/') && pattern !== '**')
      yield {
        key: `.repositories[${at}]`,
        message: `got "${pattern}", which is no repository of ${meant.map(({ name }) => name).join(', ')}; takes ${official}/${pattern} for official images, or ** for all`,
      };
}

function parsePrincipal(text: string): string | undefined {
  return text !== '' && text.length <= 255 && !/\p{Cc}/u.test(text) ? text : undefined;
}

function parseGroup(text: string): string | undefined {
  return text === '*' ? undefined : parsePrincipal(text);
}

function parsePattern(text: string): string | undefined {
  const components = text.length <= MAX_PATTERN_LENGTH ? text.split('/') : [];
  const valid = (component: string): boolean =>
    COMPONENT.test(component) && (component === '**' || !component.includes('**'));
  return components.length > 0 && components.every(valid) ? text : undefined;
}
