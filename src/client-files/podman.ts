import {
  addressOf,
  caFiles,
  DOCKER_HUB,
  heading,
  imageOf,
  quoted,
  SILENT_FALLBACK,
  unreachable,
  type ClientEdge,
  type EdgeRegistry,
  type Generated,
} from './client-edge.ts';

const FOLDER = '/etc/containers';

/**
 * For podman, skopeo, buildah and CRI-O. They send no `?ns=`: what stands after the mirror's address becomes the first
 * component of the path, and chooses the upstream. Source: containers/image, pkg/sysregistriesv2.
 */
export function podmanFiles(edge: ClientEdge): Generated {
  if (isIPv6(edge.address))
    return {
      problem: `podman takes no IPv6 address for a registry (${edge.address}): give the edge a name with --host or in tls.names`,
    };
  const mirrored = edge.registries.flatMap((registry) => mirrorOf(edge, registry) ?? []);
  const blocks = mirrored.map(({ name, location }) => block(edge, name, location));
  const addresses = new Set([edge.address, ...mirrored.map(({ address }) => address)]);
  if (edge.scheme === 'http')
    blocks.push(
      ...[...addresses].map((address) => `[[registry]]\nlocation = ${quoted(address)}\ninsecure = true\n`),
    );
  const content = heading('podman', edge) + blocks.join('\n');
  const conf = { path: `${FOLDER}/registries.conf.d/50-pierhead.conf`, content };
  return {
    files: [
      ...(blocks.length > 0 ? [conf] : []),
      ...caFiles(edge, `${FOLDER}/certs.d`, edge.scheme === 'https' ? addresses : []),
    ],
    notes: notesOf(edge, mirrored[0]?.name),
  };
}

/** Their grammar of image names, which a mirror's location follows too, has no brackets. */
function isIPv6(address: string): boolean {
  return address.startsWith('[');
}

interface Mirror {
  readonly name: string;
  readonly address: string;
  readonly location: string;
}

function mirrorOf(edge: ClientEdge, registry: EdgeRegistry): Mirror | undefined {
  const way = addressOf(edge, registry);
  if (way === undefined || isIPv6(way.address) || registry.registry === undefined) return undefined;
  const location = way.path === '' ? way.address : `${way.address}/${way.path}`;
  return { name: registry.registry, address: way.address, location };
}

function block({ scheme }: ClientEdge, name: string, location: string): string {
  const insecure = scheme === 'http' ? 'insecure = true\n' : '';
  return `[[registry]]
prefix = ${quoted(name)}
location = ${quoted(name)}

[[registry.mirror]]
location = ${quoted(location)}
${insecure}`;
}

function notesOf(edge: ClientEdge, first: string | undefined): string[] {
  const notes = [
    'podman, skopeo and buildah read these files at each start; CRI-O after systemctl reload crio.',
  ];
  if (first !== undefined) {
    const image = first === DOCKER_HUB ? 'docker.io/library/alpine' : `${first}/REPOSITORY:TAG`;
    notes.push(`Try it: podman pull ${image}`);
  }
  for (const registry of edge.registries) {
    const image = imageOf(edge, registry, 'REPOSITORY:TAG');
    if (image === undefined) notes.push(unreachable(registry));
    else if (registry.registry === undefined)
      notes.push(
        `${registry.upstream} is no name that images have in front: name them by the edge: podman pull ${image}`,
      );
  }
  return [...notes, SILENT_FALLBACK];
}
