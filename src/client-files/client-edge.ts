import { parseRepositoryName } from '../oci/repository-name.ts';

/** An edge as its clients see it. */
export interface ClientEdge {
  readonly scheme: 'https' | 'http';
  /** Host and port, IPv6 in brackets, as it stands in URLs, image names and folder names. */
  readonly address: string;
  readonly port: number;
  /** Docker and BuildKit have rules of their own for a host that is the client's own machine. */
  readonly loopback: boolean;
  /** Certificates in PEM that a client has to trust; not there when it trusts the edge already, or speaks plain HTTP. */
  readonly ca?: string;
  readonly registries: readonly EdgeRegistry[];
}

/** A registry that is reached through the edge. */
export interface EdgeRegistry {
  /** What the edge knows it by: the value of `?ns=`, the first component of a path. */
  readonly upstream: string;
  /** What clients call it, as in `ghcr.io/org/app`; not there for one that they have no name for. */
  readonly registry?: string;
  /** Where a client goes without the edge. */
  readonly origin: string;
  readonly default: boolean;
  /** `Host` headers that choose it, with or without a port. */
  readonly hosts: readonly string[];
}

export interface ClientFile {
  /** Absolute, on the client. */
  readonly path: string;
  readonly content: string;
  /** For a file that others write to as well: what is there, and ours. The problem completes "FILE …". */
  readonly merge?: (existing: string) => { readonly content: string } | { readonly problem: string };
}

export interface ClientFiles {
  readonly files: readonly ClientFile[];
  /** What is left to do, and to know: paragraphs, some of several lines. */
  readonly notes: readonly string[];
}

/** The problem is one of the edge's address or upstreams, for the operator. */
export type Generated = ClientFiles | { readonly problem: string };

export const DOCKER_HUB = 'docker.io';

export function urlOf({ scheme }: ClientEdge, address: string): string {
  return `${scheme}://${address}`;
}

/**
 * Under which address a client that sends no `?ns=` reaches a registry, a repository's name to be put after it; `path`
 * is empty where the address alone chooses the registry. `undefined` when there is no way: the name of the upstream has
 * a port, which no repository's name may have, and neither is it the default nor has it a host of its own.
 */
export function addressOf(
  edge: ClientEdge,
  registry: EdgeRegistry,
): { address: string; path: string } | undefined {
  if (parseRepositoryName(registry.upstream) !== undefined)
    return { address: edge.address, path: registry.upstream };
  const own = ownAddressOf(edge, registry);
  return own === undefined ? undefined : { address: own, path: '' };
}

/** The address that means this registry with nothing in the path. */
export function ownAddressOf(edge: ClientEdge, registry: EdgeRegistry): string | undefined {
  if (registry.default) return edge.address;
  const [host] = registry.hosts;
  if (host === undefined) return undefined;
  return /:\d+$/.test(host) ? host : `${host}:${edge.port}`;
}

/** How an image of the registry is named by the edge's address. */
export function imageOf(edge: ClientEdge, registry: EdgeRegistry, repository: string): string | undefined {
  const way = addressOf(edge, registry);
  return way && [way.address, way.path, repository].filter((part) => part !== '').join('/');
}

/** The CA for each address, in the folder that the client looks into; none for a client that needs none. */
export function caFiles(edge: ClientEdge, folder: string, addresses: Iterable<string>): ClientFile[] {
  const { ca } = edge;
  if (ca === undefined) return [];
  return [...new Set(addresses)].map((address) => ({ path: `${folder}/${address}/ca.crt`, content: ca }));
}

/** The hosts that are in question have no characters that JSON and TOML would quote differently. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}

/** The first line of each file that may have comments. */
export function heading(client: string, edge: ClientEdge): string {
  return `# pierhead client-config ${client}, for the edge ${urlOf(edge, edge.address)}\n`;
}

export const SILENT_FALLBACK =
  "A client that cannot use the edge goes to the registry itself without a word: the edge's log shows whether it comes by.";

export function unreachable({ upstream }: EdgeRegistry): string {
  return `${upstream} cannot be reached: a name with a port cannot stand in an image's name, and this client sends nothing else. List a host name of the edge under its "hosts" in upstreams.`;
}

/** For a client that asks the edge by `?ns=`, for a registry whose name is not the upstream's. */
export function notMirrored(edge: ClientEdge, { upstream, registry }: EdgeRegistry, image?: string): string {
  const reason =
    registry === undefined
      ? `${upstream} is not mirrored: no image has that in front of its name.`
      : `${upstream} is not mirrored: clients ask for ${registry}, and the edge at ${edge.address} knows no upstream of that name; name the upstream so.`;
  return image === undefined ? reason : `${reason} Or name its images by the edge: ${image}`;
}
