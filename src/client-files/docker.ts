import {
  addressOf,
  caFiles,
  DOCKER_HUB,
  imageOf,
  ownAddressOf,
  SILENT_FALLBACK,
  unreachable,
  urlOf,
  type ClientEdge,
  type ClientFile,
  type EdgeRegistry,
  type Generated,
} from './client-edge.ts';

const DAEMON_JSON = '/etc/docker/daemon.json';
const CERTS = '/etc/docker/certs.d';

type Settings = Readonly<Record<string, readonly string[]>>;

/**
 * Docker mirrors Docker Hub only, and its mirrors have no path: the registry is chosen by the address alone. Images of
 * the other registries are named by the edge's address. Source: moby, registry/config.go and registry/service_v2.go.
 */
export function dockerFiles(edge: ClientEdge): Generated {
  const hub = edge.registries.find(({ registry }) => registry === DOCKER_HUB);
  const mirror = hub && ownAddressOf(edge, hub);
  const addresses = addressesOf(edge, mirror);
  const settings = settingsOf(edge, mirror, addresses);
  const files: ClientFile[] = [];
  if (Object.keys(settings).length > 0) {
    files.push({
      path: DAEMON_JSON,
      content: `${JSON.stringify(settings, undefined, 2)}\n`,
      merge: (existing) => mergeDaemonJson(existing, settings),
    });
  }
  // Docker checks no certificate of a loopback address, and reads nothing for it.
  const checked = [...addresses].filter((address) => !isLoopback(edge, address));
  return { files: [...files, ...caFiles(edge, CERTS, checked)], notes: notesOf(edge, hub, mirror) };
}

/** Adds what is missing and keeps the rest; ours comes first, since docker asks mirrors in their order. */
export function mergeDaemonJson(
  existing: string,
  settings: Settings,
): { content: string } | { problem: string } {
  let parsed: unknown;
  try {
    parsed = existing.trim() === '' ? {} : JSON.parse(existing);
  } catch {
    return { problem: 'is not JSON, so nothing can be added to it' };
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return { problem: 'is no JSON object, so nothing can be added to it' };
  const merged = new Map<string, unknown>(Object.entries(parsed));
  let changed = false;
  for (const [key, wanted] of Object.entries(settings)) {
    const present: unknown = merged.get(key) ?? [];
    if (!Array.isArray(present)) return { problem: `has something else than a list in "${key}"` };
    const known = new Set(present.map((item) => withoutSlash(item)));
    const missing = wanted.filter((item) => !known.has(item));
    if (missing.length === 0) continue;
    merged.set(key, [...missing, ...present]);
    changed = true;
  }
  if (!changed) return { content: existing };
  const indent = /^\{\r?\n([ \t]+)"/.exec(existing)?.[1] ?? 2;
  return { content: `${JSON.stringify(Object.fromEntries(merged), undefined, indent)}\n` };
}

function withoutSlash(item: unknown): unknown {
  return typeof item === 'string' ? item.replace(/\/$/, '') : item;
}

function addressesOf(edge: ClientEdge, mirror: string | undefined): Set<string> {
  const ways = edge.registries.map((registry) => addressOf(edge, registry)?.address);
  return new Set([mirror, ...ways].filter((address) => address !== undefined));
}

/**
 * The other list is for what an address alone does not tell: that it is plain, or that it is not although it is on
 * loopback. Docker itself takes the scheme off there, with a warning, and checks no certificate of a loopback address
 * anyway. BuildKit in dockerd 20.10 needs it: it drops the mirror's own scheme, tries the wrong one, and fails the build
 * instead of going on to Docker Hub.
 */
function settingsOf(edge: ClientEdge, mirror: string | undefined, addresses: Set<string>): Settings {
  const untold = [...addresses].filter((each) => (edge.scheme === 'https') === isLoopback(edge, each));
  return {
    ...(mirror === undefined ? {} : { 'registry-mirrors': [urlOf(edge, mirror)] }),
    ...(untold.length > 0 ? { 'insecure-registries': untold.map((each) => urlOf(edge, each)) } : {}),
  };
}

/** Hosts that stand for one registry are names for other machines. */
function isLoopback(edge: ClientEdge, address: string): boolean {
  return edge.loopback && address === edge.address;
}

function notesOf(edge: ClientEdge, hub: EdgeRegistry | undefined, mirror: string | undefined): string[] {
  const notes = [
    `Docker reads ${DAEMON_JSON} on start: systemctl restart docker.${mirror === undefined ? '' : ' Then try: docker pull alpine'}`,
  ];
  for (const registry of edge.registries) {
    if (registry === hub && mirror !== undefined) continue;
    const image = imageOf(edge, registry, 'REPOSITORY:TAG');
    notes.push(
      image === undefined
        ? unreachable(registry)
        : `Docker has mirrors for ${DOCKER_HUB} only${registry === hub ? ', without a path' : ''}. For ${registry.upstream}, name images by the edge: docker pull ${image}`,
    );
  }
  if (edge.loopback && edge.scheme === 'https')
    notes.push('Docker checks no certificate of a loopback address, so that it needs no CA.');
  if (!edge.loopback && edge.ca !== undefined) {
    notes.push(
      `With the containerd image store (the default of a fresh Docker 29) docker does not look into ${CERTS} for mirrors. Install the CA in the system's store there, and restart docker:\n` +
        `  Debian, Ubuntu  cp ${CERTS}/${mirror ?? edge.address}/ca.crt /usr/local/share/ca-certificates/pierhead.crt && update-ca-certificates\n` +
        `  Fedora, RHEL    cp ${CERTS}/${mirror ?? edge.address}/ca.crt /etc/pki/ca-trust/source/anchors/pierhead.crt && update-ca-trust`,
    );
  }
  if (mirror !== undefined) notes.push(SILENT_FALLBACK);
  return notes;
}
