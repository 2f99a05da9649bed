import type { ContenderName } from '../scenario.ts';
import type { Contender, ContenderOptions } from './contender.ts';
import { startDockerRegistry } from './docker-registry.ts';
import { startNginx } from './nginx.ts';
import { startPierhead } from './pierhead.ts';

export type CacheName = Exclude<ContenderName, 'direct'>;

const STARTERS: Readonly<Record<CacheName, (options: ContenderOptions) => Promise<Contender>>> = {
  pierhead: startPierhead,
  nginx: startNginx,
  'docker-registry': startDockerRegistry,
};

/** Starts each contender that has an upstream; all of them end with `owner`. */
export async function startContenders(
  upstreams: Readonly<Partial<Record<CacheName, string>>>,
  options: Omit<ContenderOptions, 'upstream'>,
  owner: AsyncDisposableStack,
): Promise<Contender[]> {
  const contenders: Contender[] = [];
  for (const [name, upstream] of Object.entries(upstreams) as [CacheName, string][]) {
    contenders.push(owner.use(await STARTERS[name]({ ...options, upstream })));
  }
  return contenders;
}
