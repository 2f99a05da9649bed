import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { runProcess } from './processes.ts';

/** The real programs that the end-to-end tests run, and the Debian package of each. */
const PARTS = {
  docker: { package: 'docker.io', version: ['--version'] },
  dockerd: { package: 'docker.io', version: ['--version'] },
  containerd: { package: 'containerd', version: ['--version'] },
  ctr: { package: 'containerd', version: ['--version'] },
  podman: { package: 'podman', version: ['--version'] },
  skopeo: { package: 'skopeo', version: ['--version'] },
  'docker-registry': { package: 'docker-registry', version: ['--version'] },
  'redis-server': { package: 'redis-server', version: ['--version'] },
  slapd: { package: 'slapd', version: ['-VV'] },
  haproxy: { package: 'haproxy', version: ['-v'] },
  nginx: { package: 'nginx', version: ['-v'] },
  wrk: { package: 'wrk', version: ['-v'] },
  testssl: { package: 'testssl.sh', version: ['--version'] },
  strace: { package: 'strace', version: ['-V'] },
  prometheus: { package: 'prometheus', version: ['--version'] },
  promtool: { package: 'prometheus', version: ['--version'] },
  'systemd-analyze': { package: 'systemd', version: ['--version'] },
} as const;

export type PartName = keyof typeof PARTS;
export const PART_NAMES = Object.keys(PARTS) as PartName[];

// The packaged programs come first: a newer client from elsewhere may stand before them on the PATH.
const FOLDERS = ['/usr/bin', '/usr/sbin'];

/** Where a part is, or `undefined` when this machine does not have it. */
export function findPart(name: string, path = process.env['PATH'] ?? ''): string | undefined {
  return [...FOLDERS, ...path.split(delimiter)].map((folder) => join(folder, name)).find(isExecutable);
}

/** @throws {Error} naming the command that brings the part. */
export function part(name: PartName): string {
  const path = findPart(name);
  if (path === undefined) throw new Error(`${name} is not on this machine: run node test/support/prepare.ts`);
  return path;
}

/** For `t.test(name, { skip: missing('skopeo') }, …)`: false when all are there, otherwise the reason. */
export function missing(...names: PartName[]): string | false {
  const absent = names.filter((name) => findPart(name) === undefined);
  if (absent.length > 0) return `not on this machine: ${absent.join(', ')}`;
  const privileged = names.find((name) => name === 'dockerd' || name === 'containerd' || name === 'podman');
  return privileged !== undefined && process.getuid?.() !== 0 ? `${privileged} needs root` : false;
}

export function packagesOf(names: readonly PartName[]): string[] {
  return [...new Set(names.map((name) => PARTS[name].package))];
}

/** The first thing in the program's own words that looks like a version, `?` when there is none. */
export async function versionOf(name: PartName): Promise<string> {
  const { stdout, stderr } = await runProcess(part(name), PARTS[name].version, { timeoutMs: 5000 });
  return /\d+(?:\.\d+)+/.exec(stdout + stderr)?.[0] ?? '?';
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
