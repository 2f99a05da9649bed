import { isIP } from 'node:net';
import { Access, type Action } from '../access/authorize.ts';
import type { Caller } from '../access/caller.ts';
import type { Identification } from '../access/identification.ts';
import { canonicalAddress, IpRules } from '../access/ip-rules.ts';
import { Denied, Unauthorized } from '../access/refusals.ts';
import { Roles } from '../access/roles.ts';
import type { Config } from '../config/config.ts';
import { printable } from '../config/problem.ts';
import { upstreamNames } from '../config/upstreams.ts';
import { parseImage } from '../oci/image-reference.ts';
import { repositoryKey } from '../oci/repository-ref.ts';
import { configOf, type EdgeOptions } from './edge-options.ts';
import { UsageError } from './usage-error.ts';

export const ACTIONS = ['pull', 'push', 'delete'] as const satisfies readonly Action[];

/** Who asks. */
export interface WhoOptions {
  readonly user?: string;
  readonly group: readonly string[];
  readonly from: string;
}

/** Says whether somebody may do that, and which rule decides. Exit 1 when they may not. */
export function access(image: string, action: Action, options: EdgeOptions & WhoOptions): void {
  const { may, text } = explainAccess(configOf(options), image, action, options);
  console.log(text);
  if (!may) process.exitCode = 1;
}

/** By the code that decides in an edge. @throws {UsageError} for what cannot be asked. */
export function explainAccess(
  config: Config,
  image: string,
  action: Action,
  who: WhoOptions,
): { readonly may: boolean; readonly text: string } {
  const read = parseImage(image, upstreamNames(config.upstreams));
  if ('problem' in read) throw new UsageError(`got "${printable(image)}": ${read.problem}`);
  const { repository } = read.image;
  const caller = callerOf(who, config.auth.mode);
  const name = caller.identity === undefined ? 'somebody unknown' : printable(caller.identity.user);
  const { may, why } = decide(config, caller, { repository, action });
  const said = `${may ? 'may' : 'may not'} ${action} ${repositoryKey(repository)}`;
  return { may, text: `${name} from ${caller.address} ${said}: ${why}` };
}

function callerOf({ user, group, from }: WhoOptions, mode: Config['auth']['mode']): Caller {
  const address = canonicalAddress(from);
  if (isIP(address) === 0) throw new UsageError(`--from: got "${printable(from)}"; takes an IP address`);
  if (user === undefined && group.length > 0) throw new UsageError('--group: takes --user beside it');
  if (user !== undefined && mode !== 'edge')
    throw new UsageError(`--user: this edge knows nobody by name (auth.mode is ${mode}); takes --from alone`);
  return { address, identity: user === undefined ? undefined : { user, groups: group, by: 'htpasswd' } };
}

type Question = Pick<Parameters<Access['authorize']>[1], 'repository' | 'action'>;

function decide(
  config: Config,
  caller: Caller,
  { repository, action }: Question,
): { may: boolean; why: string } {
  const { access, roles, auth, listen } = config;
  const doors = (['https', 'http'] as const).filter((name) => listen[name] !== null);
  if (!doors.some((name) => new IpRules(access.listeners[name] ?? access).admits(caller.address)))
    return { may: false, why: 'no listener lets that address in (access.allow, access.deny)' };
  const { upstream } = repository;
  if (action !== 'pull' && config.upstreams.find(({ name }) => name === upstream)?.push !== true)
    return { may: false, why: `pushes to ${upstream} are off (upstreams[].push)` };
  const identification: Identification = {
    identify: () => undefined,
    challenges: () => (auth.mode === 'edge' ? ['Basic'] : []),
  };
  const judge = new Access({
    identification,
    roles: new Roles(roles, auth.mode),
    forbiddenNames: access.forbiddenNames,
  });
  const wanted = { repository, name: repository.name, action, object: undefined, host: undefined };
  try {
    const granted = judge.authorize(caller, wanted);
    if (granted instanceof Promise)
      throw new Error('without an upstream to ask there is nothing to wait for');
    const by = roles.length > 0 ? granted.by : 'no roles are configured, so all who are let in may';
    return { may: true, why: auth.mode === 'upstream' ? `${by}, if ${upstream} says so too` : by };
  } catch (error) {
    if (error instanceof Unauthorized)
      return { may: false, why: 'nobody without a name may; they are asked for one (401)' };
    if (error instanceof Denied)
      return { may: false, why: `${error.message} (${error.hidden ? '404, as if it were not there' : 403})` };
    throw error;
  }
}
