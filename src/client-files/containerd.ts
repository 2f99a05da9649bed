import {
  caFiles,
  DOCKER_HUB,
  heading,
  imageOf,
  notMirrored,
  quoted,
  SILENT_FALLBACK,
  urlOf,
  type ClientEdge,
  type ClientFile,
  type EdgeRegistry,
  type Generated,
} from './client-edge.ts';

const CERTS = '/etc/containerd/certs.d';

/**
 * One folder a registry, named as clients call it. containerd tells the edge that name by `?ns=`, so that it has to be
 * the upstream's. Source: containerd, core/remotes/docker/config/hosts.go.
 */
export function containerdFiles(edge: ClientEdge): Generated {
  const mirrored = edge.registries.filter(({ registry, upstream }) => registry === upstream);
  const others = edge.registries.filter((registry) => !mirrored.includes(registry));
  return {
    files: [
      ...mirrored.map((registry) => hostsToml(edge, registry)),
      ...(edge.scheme === 'http' ? [plainHostsToml(edge)] : []),
      ...caFiles(edge, CERTS, [edge.address]),
    ],
    notes: [
      `The kubelet's pulls (CRI) look into ${CERTS} when /etc/containerd/config.toml says so; restart containerd after adding it. Later changes below the folder need no restart.\n` +
        `  containerd 2.x, version = 3:\n    [plugins."io.containerd.cri.v1.images".registry]\n      config_path = "${CERTS}"\n` +
        `  containerd 1.x, version = 2:\n    [plugins."io.containerd.grpc.v1.cri".registry]\n      config_path = "${CERTS}"`,
      `Try it: ctr images pull --hosts-dir ${CERTS} ${exampleOf(edge, mirrored[0])}`,
      ...others.map((registry) => notMirrored(edge, registry, imageOf(edge, registry, 'REPOSITORY:TAG'))),
      SILENT_FALLBACK,
    ],
  };
}

/** The CA's path is relative to this file: the folder may be mounted elsewhere. */
function hostsToml(edge: ClientEdge, { upstream, origin }: EdgeRegistry): ClientFile {
  const ca = edge.ca === undefined ? '' : `  ca = ${quoted(`../${edge.address}/ca.crt`)}\n`;
  return {
    path: `${CERTS}/${upstream}/hosts.toml`,
    content: `${heading('containerd', edge)}server = ${quoted(origin)}

[host.${quoted(urlOf(edge, edge.address))}]
  capabilities = ["pull", "resolve"]
${ca}`,
  };
}

/**
 * For images that are named by the edge's address, which containerd takes for a TLS one otherwise. Older versions
 * refuse a file without any host.
 */
function plainHostsToml(edge: ClientEdge): ClientFile {
  const url = quoted(urlOf(edge, edge.address));
  return {
    path: `${CERTS}/${edge.address}/hosts.toml`,
    content: `${heading('containerd', edge)}server = ${url}\n\n[host.${url}]\n`,
  };
}

function exampleOf(edge: ClientEdge, first: EdgeRegistry | undefined): string {
  if (first === undefined) {
    const [registry] = edge.registries;
    return (registry && imageOf(edge, registry, 'REPOSITORY:TAG')) ?? 'IMAGE';
  }
  return first.upstream === DOCKER_HUB
    ? 'docker.io/library/alpine:latest'
    : `${first.upstream}/REPOSITORY:TAG`;
}
