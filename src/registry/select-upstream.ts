import { RegistryError } from '../oci/error-codes.ts';
import { parseRepositoryName, type RepositoryName } from '../oci/repository-name.ts';
import type { RepositoryRef } from '../oci/repository-ref.ts';

export interface UpstreamNames {
  readonly name: string;
  /** Host names of this edge under which the upstream is reached. */
  readonly hosts: readonly string[];
  readonly default: boolean;
  /** Docker Hub keeps its official images under `library/`; clients that speak to it through a mirror add that themselves. */
  readonly officialNamespace: string | undefined;
  /** Whether `_catalog` shows its repositories. */
  readonly catalog?: boolean;
}

/** How a request names an upstream besides its path. */
export interface AddressedTo {
  readonly namespace: string | undefined;
  /** The request's `Host` header. */
  readonly host: string | undefined;
}

export interface Addressed extends AddressedTo {
  readonly name: RepositoryName;
}

/**
 * Which upstream a request is about: `?ns=`, else the first path component, else the `Host`, else the default.
 * @throws {RegistryError} NAME_UNKNOWN at once for a namespace that is not configured: the client goes on to its next
 * mirror, and nobody can make the edge ask hosts of their choice.
 */
export function selectUpstream(
  upstreams: readonly UpstreamNames[],
  { name, namespace, host }: Addressed,
): RepositoryRef {
  if (namespace !== undefined) {
    const named = byNamespace(upstreams, namespace);
    return within(named, stripFirst(name, named.name) ?? name);
  }
  for (const upstream of upstreams) {
    const rest = stripFirst(name, upstream.name);
    if (rest !== undefined) return within(upstream, rest);
  }
  return within(upstreamOf(upstreams, { namespace, host }), name);
}

/**
 * The upstream of a request without a repository in its path.
 * @throws {RegistryError} as {@link selectUpstream} does.
 */
export function upstreamOf(upstreams: readonly UpstreamNames[], addressed: AddressedTo): UpstreamNames {
  const chosen = namedUpstream(upstreams, addressed) ?? upstreams.find((upstream) => upstream.default);
  if (chosen === undefined) throw new RegistryError('NAME_UNKNOWN', 'this edge has no default upstream');
  return chosen;
}

/**
 * The upstream that a request without a repository is about, when it names one: by `?ns=`, else by its `Host`.
 * @throws {RegistryError} as {@link selectUpstream} does.
 */
export function namedUpstream(
  upstreams: readonly UpstreamNames[],
  { namespace, host }: AddressedTo,
): UpstreamNames | undefined {
  return namespace === undefined ? byHost(upstreams, host) : byNamespace(upstreams, namespace);
}

function byNamespace(upstreams: readonly UpstreamNames[], namespace: string): UpstreamNames {
  const named = upstreams.find((upstream) => upstream.name === namespace);
  if (named === undefined)
    throw new RegistryError('NAME_UNKNOWN', 'this edge has no upstream of that namespace');
  return named;
}

function byHost(upstreams: readonly UpstreamNames[], host: string | undefined): UpstreamNames | undefined {
  const hostName = host?.replace(/:\d+$/, '').toLowerCase();
  return upstreams.find(({ hosts }) => hosts.some((known) => known === host || known === hostName));
}

function stripFirst(name: RepositoryName, upstream: string): RepositoryName | undefined {
  return name.startsWith(`${upstream}/`) ? parseRepositoryName(name.slice(upstream.length + 1)) : undefined;
}

function within({ name: upstream, officialNamespace }: UpstreamNames, name: RepositoryName): RepositoryRef {
  const official = officialNamespace !== undefined && !name.includes('/');
  return { upstream, name: (official && parseRepositoryName(`${officialNamespace}/${name}`)) || name };
}
