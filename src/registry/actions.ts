import type { Action } from '../access/authorize.ts';
import { RegistryError } from '../oci/error-codes.ts';
import type { Route } from './route.ts';

type Methods = Readonly<Partial<Record<string, Action>>>;

const PULL: Methods = { GET: 'pull', HEAD: 'pull' };
const NEW_UPLOAD: Methods = { POST: 'push' };
/** The status of an upload is part of pushing it. */
const RUNNING_UPLOAD: Methods = { GET: 'push', HEAD: 'push', PATCH: 'push', PUT: 'push', DELETE: 'push' };
const ACTIONS: Readonly<Record<Exclude<Route['kind'], 'upload'>, Methods>> = {
  ping: PULL,
  catalog: PULL,
  tags: PULL,
  referrers: PULL,
  manifest: { ...PULL, PUT: 'push', DELETE: 'delete' },
  blob: { ...PULL, DELETE: 'delete' },
};

/** What a method of the distribution spec does on a route; undefined when it does nothing there. */
export function actionOf(route: Route, method: string): Action | undefined {
  const methods = methodsOf(route);
  return Object.hasOwn(methods, method) ? methods[method] : undefined;
}

/** 405, with the methods that there are: `route` is given where pushes are on. */
export class MethodUnsupported extends RegistryError {
  readonly allow: string;

  constructor(detail: string, route?: Route) {
    super('UNSUPPORTED', detail);
    this.allow = Object.keys(route === undefined ? PULL : methodsOf(route)).join(', ');
  }
}

function methodsOf(route: Route): Methods {
  if (route.kind !== 'upload') return ACTIONS[route.kind];
  return route.session === undefined ? NEW_UPLOAD : RUNNING_UPLOAD;
}
