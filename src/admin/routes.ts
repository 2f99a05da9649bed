import { COMMANDS, type Command } from './commands.ts';

const API = '/api/v1';

export type AdminRoute =
  | { readonly kind: 'health' | 'ready' | 'metrics' }
  | { readonly kind: 'command'; readonly command: Command }
  | { readonly kind: 'unsupported'; readonly allow: string }
  | { readonly kind: 'unknown' };

const PAGES: ReadonlyMap<string, AdminRoute> = new Map([
  ['/healthz', { kind: 'health' }],
  ['/readyz', { kind: 'ready' }],
  ['/metrics', { kind: 'metrics' }],
]);

/** By the exact path: nothing is decoded, joined or trimmed, so that no other spelling leads to a command. A query means nothing. */
export function routeOf(method: string, target: string): AdminRoute {
  const path = target.split('?', 1)[0] ?? '';
  const looks = method === 'GET' || method === 'HEAD';
  const page = PAGES.get(path);
  if (page !== undefined) return looks ? page : { kind: 'unsupported', allow: 'GET, HEAD' };
  if (!path.startsWith(`${API}/`))
    return looks ? { kind: 'unknown' } : { kind: 'unsupported', allow: 'GET, HEAD' };
  const name = path.slice(API.length);
  const command = COMMANDS.get(`${looks ? 'GET' : method} ${name}`);
  if (command !== undefined) return { kind: 'command', command };
  if (COMMANDS.has(`GET ${name}`)) return { kind: 'unsupported', allow: 'GET, HEAD' };
  return COMMANDS.has(`POST ${name}`) ? { kind: 'unsupported', allow: 'POST' } : { kind: 'unknown' };
}
