import { isLoopback } from '../addresses.ts';
import type { Config, ListenConfig } from '../config.ts';
import type { Problem } from '../problem.ts';

/** Beyond this host the admin listener takes operators only: where nobody can be one, it has nothing to do there. */
export function adminProblems({
  listen: { admin, https },
  auth,
  roles,
}: Pick<Config, 'listen' | 'auth' | 'roles'>): Problem[] {
  if (admin === null || isLoopback(admin.host)) return [];
  const problem = (missing: string): Problem[] => [
    {
      key: 'listen.admin',
      message: `${admin.host} can be reached from other hosts, and ${missing}, or bind it to 127.0.0.1, or turn it off with null`,
    },
  ];
  if (auth.mode !== 'edge')
    return problem(
      `auth.mode ${auth.mode} knows nobody by name: set auth.mode: edge and give somebody the role operator`,
    );
  if (!roles.some(({ role }) => role === 'operator'))
    return problem('nobody may use it: give somebody the role operator');
  if (https === null && !auth.allowPlain)
    return problem(
      'listen.https, whose certificate it serves, is off: turn that on, or let passwords go over plain HTTP with auth.allowPlain: true',
    );
  return [];
}

/** Whether it speaks TLS: on another address than loopback, with the certificates of the TLS listener. */
export function adminSpeaksTls({ admin, https }: ListenConfig): boolean {
  return admin !== null && !isLoopback(admin.host) && https !== null;
}
