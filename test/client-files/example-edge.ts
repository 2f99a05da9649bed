import type { ClientEdge, ClientFiles, EdgeRegistry, Generated } from '../../src/client-files/client-edge.ts';

export const CA = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

export const hub: EdgeRegistry = {
  upstream: 'docker.io',
  registry: 'docker.io',
  origin: 'https://registry-1.docker.io',
  default: true,
  hosts: [],
};
export const ghcr: EdgeRegistry = {
  upstream: 'ghcr.io',
  registry: 'ghcr.io',
  origin: 'https://ghcr.io',
  default: false,
  hosts: [],
};
/** Its name cannot stand in a path; it has a host of its own. */
export const withPort: EdgeRegistry = {
  upstream: 'registry.corp:5000',
  registry: 'registry.corp:5000',
  origin: 'http://registry.corp:5000',
  default: false,
  hosts: ['corp.edge.example'],
};
/** Clients call it otherwise than the edge does. */
export const central: EdgeRegistry = {
  upstream: 'central',
  registry: 'central.corp',
  origin: 'https://central.corp',
  default: false,
  hosts: [],
};
/** Clients have no name for it. */
export const nameless: EdgeRegistry = {
  upstream: 'mirror',
  origin: 'https://central.corp',
  default: false,
  hosts: [],
};

export function exampleEdge(more: Partial<ClientEdge> = {}): ClientEdge {
  const registries = [hub, ghcr, withPort, central, nameless];
  return {
    scheme: 'https',
    address: 'edge.example:5443',
    port: 5443,
    loopback: false,
    ca: CA,
    registries,
    ...more,
  };
}

export function plainEdge(more: Partial<ClientEdge> = {}): ClientEdge {
  const { ca: _, ...edge } = exampleEdge({ scheme: 'http', address: 'edge.example:5000', port: 5000 });
  return { ...edge, ...more };
}

export function filesOf(generated: Generated): ClientFiles {
  if ('problem' in generated) throw new Error(generated.problem);
  return generated;
}

export function pathsOf(generated: Generated): string[] {
  return filesOf(generated).files.map(({ path }) => path);
}

export function contentOf(generated: Generated, path: string): string | undefined {
  return filesOf(generated).files.find((file) => file.path === path)?.content;
}

export function notesOf(generated: Generated): string {
  return filesOf(generated).notes.join('\n');
}
