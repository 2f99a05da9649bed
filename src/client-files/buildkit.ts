import {
  caFiles,
  heading,
  imageOf,
  notMirrored,
  quoted,
  SILENT_FALLBACK,
  type ClientEdge,
  type Generated,
} from './client-edge.ts';

const CONF = '/etc/buildkit/buildkitd.toml';
const CERTS = '/etc/buildkit/certs';

/**
 * BuildKit resolves with containerd's code and sends `?ns=`, so that a mirror needs no path. What is said of the
 * mirror's own host stands in a section of its own. Source: buildkit, util/resolver/resolver.go.
 */
export function buildkitFiles(edge: ClientEdge): Generated {
  const mirrored = edge.registries.filter(({ registry, upstream }) => registry === upstream);
  const ca = caFiles(edge, CERTS, [edge.address]);
  const sections = mirrored.map(
    ({ upstream }) => `[registry.${quoted(upstream)}]\n  mirrors = [${quoted(edge.address)}]\n`,
  );
  const own = [
    // Without a word on it, BuildKit speaks plain HTTP to a loopback address.
    ...(edge.scheme === 'http' || edge.loopback ? [`  http = ${edge.scheme === 'http'}\n`] : []),
    ...ca.map(({ path }) => `  ca = [${quoted(path)}]\n`),
  ];
  if (own.length > 0) sections.push(`[registry.${quoted(edge.address)}]\n${own.join('')}`);
  const conf = { path: CONF, content: heading('buildkit', edge) + sections.join('\n') };
  return {
    files: [...(sections.length > 0 ? [conf] : []), ...ca],
    notes: [
      `Restart buildkitd, which reads ${CONF} on start. For docker buildx, make a builder with it (the CA is copied into its container): docker buildx create --use --driver docker-container --buildkitd-config ${CONF}`,
      'The builder inside dockerd does not read this file: for docker build without a builder of its own, take the files of pierhead client-config docker.',
      ...edge.registries
        .filter((registry) => !mirrored.includes(registry))
        .map((registry) => notMirrored(edge, registry, imageOf(edge, registry, 'REPOSITORY:TAG'))),
      SILENT_FALLBACK,
    ],
  };
}
