import { parseRepositoryName } from '../../oci/repository-name.ts';
import type { Scope } from '../caller.ts';

/** The catalog, as a scope names it; no repository has a colon in its name. */
export const CATALOG = 'registry:catalog';

/** More repositories than any client asks for at once: two, for a mount. */
const MAX_SCOPES = 20;
const ACTIONS = ['pull', 'push', 'delete'] as const;

/**
 * Reads the `scope` parameters of a token request (docker's token protocol: `repository:NAME:pull,push`, several separated by
 * spaces). What is no scope of a registry is left out, as registries do: nothing is granted for it.
 * Undefined: more than anybody needs.
 */
export function parseScopes(parameters: readonly string[]): readonly Scope[] | undefined {
  const texts = parameters.flatMap((parameter) => parameter.split(' ')).filter((text) => text !== '');
  if (texts.length > MAX_SCOPES) return undefined;
  const wanted = new Map<string, Set<string>>();
  for (const { name, actions } of texts.flatMap(parseScope)) {
    const known = wanted.get(name) ?? new Set();
    for (const action of actions) known.add(action);
    wanted.set(name, known);
  }
  return [...wanted].map(([name, actions]) => ({ name, actions: [...actions] }));
}

/** The name may hold colons of its own (a registry's port), so the first and the last colon are what counts. */
function parseScope(text: string): Scope[] {
  const [first, last] = [text.indexOf(':'), text.lastIndexOf(':')];
  if (first === last) return [];
  const [type, name] = [text.slice(0, first), text.slice(first + 1, last)];
  const actions = text.slice(last + 1).split(',');
  if (type === 'registry' && name === 'catalog' && actions.includes('*'))
    return [{ name: CATALOG, actions: ['*'] }];
  // `repository(plugin)` is a repository, whatever it holds.
  if (!/^repository(?:\([a-z0-9]+\))?$/.test(type) || parseRepositoryName(name) === undefined) return [];
  const known = ACTIONS.filter((action) => actions.includes(action) || actions.includes('*'));
  return known.length === 0 ? [] : [{ name, actions: known }];
}

/** Whether `scopes` let their bearer do that. */
export function isInScope(scopes: readonly Scope[], name: string, action: string): boolean {
  return scopes.some((scope) => scope.name === name && scope.actions.includes(action));
}
