import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findPart, part } from './parts.ts';
import { runProcess, startProcess, type Finished, type RunningProcess } from './processes.ts';
import { TempFolder } from './temp.ts';

/** A build of an image takes a minute; nothing else comes near. */
const CLIENT_TIMEOUT_MS = 240_000;

export interface RegistryCertificates {
  /** As in the mirror's URL. docker reads no certificates for a host that resolves to 127/8: it trusts that blindly. */
  readonly hostPort: string;
  readonly caFile: string;
  /** For registries that ask for a client certificate. */
  readonly certFile?: string;
  readonly keyFile?: string;
}

export interface DockerOptions {
  /** URLs, in the order in which docker tries them, and for docker.io images only. */
  readonly mirrors: readonly string[];
  readonly certsFor?: readonly RegistryCertificates[];
  readonly insecureRegistries?: readonly string[];
  /** `vfs` works everywhere and copies each layer; `auto` lets docker choose, which builds of many layers need. */
  readonly storageDriver?: 'vfs' | 'auto';
  /** Of `docker build`; BuildKit by default. The classic one takes base images that no registry has. */
  readonly builder?: 'buildkit' | 'classic';
  /** What the daemon sees as `/etc/docker`, as it is; the other options then say only which hosts are near. */
  readonly etc?: string;
}

export interface Docker extends AsyncDisposable {
  readonly pid: number;
  readonly dir: string;
  /** What the daemon wrote: its `Attempting next endpoint` lines tell of a mirror that was given up. */
  readonly log: string;
  docker(...args: string[]): Promise<Finished>;
  /** @throws {Error} with docker's own words. */
  pull(image: string): Promise<void>;
  /** The digest of the image's config; `undefined` when docker does not have it. */
  imageId(image: string): Promise<string | undefined>;
  remove(image: string): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A real dockerd with its own containerd, in a throwaway folder. It sees a mount namespace and an `/etc/docker` of its
 * own: what it mounts is gone when it is, and certificates need not be put where the machine's own docker reads them.
 */
export async function startDockerd(options: DockerOptions): Promise<Docker> {
  const folder = new TempFolder('docker');
  let daemon: RunningProcess | undefined;
  const client = clientOf(folder, options.builder);
  async function stop(): Promise<void> {
    await daemon?.stop(30_000);
    await folder.remove();
  }
  try {
    await prepareFolder(folder, options);
    const [command, ...args] = commandLine(folder, options);
    daemon = await startProcess(command, args, {
      env: environment(options),
      readyWithinMs: 60_000,
      ready: async () => (await client('version')).code === 0,
    });
  } catch (error) {
    await stop();
    throw error;
  }
  const { pid } = daemon;
  return {
    pid,
    dir: folder.path,
    get log() {
      return daemon.stderr;
    },
    docker: client,
    async pull(image) {
      const { code, stderr } = await client('pull', image);
      if (code !== 0) throw new Error(`docker pull ${image}: ${stderr.trim()}`);
    },
    async imageId(image) {
      const { code, stdout } = await client('image', 'inspect', '--format', '{{.Id}}', image);
      return code === 0 ? stdout.trim() : undefined;
    },
    async remove(image) {
      const { code, stderr } = await client('image', 'rm', '--force', image);
      if (code !== 0) throw new Error(`docker image rm ${image}: ${stderr.trim()}`);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function clientOf(folder: TempFolder, builder: DockerOptions['builder']): Docker['docker'] {
  const args = ['--config', folder.join('client'), '--host', `unix://${folder.join('socket')}`];
  const env = { HOME: folder.path, DOCKER_BUILDKIT: builder === 'classic' ? '0' : '1' };
  return (...rest) => runProcess(part('docker'), [...args, ...rest], { env, timeoutMs: CLIENT_TIMEOUT_MS });
}

async function prepareFolder(folder: TempFolder, options: DockerOptions): Promise<void> {
  await mkdir(folder.join('client'));
  if (options.etc !== undefined) return;
  const etc = folder.join('etc');
  await mkdir(join(etc, 'certs.d'), { recursive: true });
  for (const { hostPort, caFile, certFile, keyFile } of options.certsFor ?? []) {
    const target = join(etc, 'certs.d', hostPort);
    await mkdir(target, { recursive: true });
    await copyFile(caFile, join(target, 'ca.crt'));
    if (certFile !== undefined) await copyFile(certFile, join(target, 'client.cert'));
    if (keyFile !== undefined) await copyFile(keyFile, join(target, 'client.key'));
  }
  const daemon = {
    'registry-mirrors': options.mirrors,
    'insecure-registries': options.insecureRegistries ?? [],
    'max-concurrent-downloads': 3,
  };
  await writeFile(join(etc, 'daemon.json'), JSON.stringify(daemon));
}

function commandLine(
  folder: TempFolder,
  { etc = folder.join('etc'), storageDriver = 'vfs' }: DockerOptions,
): [string, ...string[]] {
  const dockerd = [
    part('dockerd'),
    ...(storageDriver === 'auto' ? [] : [`--storage-driver=${storageDriver}`]),
    '--bridge=none',
    '--iptables=false',
    '--ip6tables=false',
    '--ip-masq=false',
    `--data-root=${folder.join('data')}`,
    `--exec-root=${folder.join('exec')}`,
    `--pidfile=${folder.join('pid')}`,
    `--host=unix://${folder.join('socket')}`,
  ];
  // `exec` keeps the process id through the shell, so that a signal reaches dockerd itself.
  const script = 'mkdir -p /etc/docker && mount --bind "$0" /etc/docker && exec "$@"';
  const unshare = findPart('unshare') ?? 'unshare';
  return [unshare, '--mount', '--propagation', 'private', 'sh', '-c', script, etc, ...dockerd];
}

/**
 * After the last mirror docker tries Docker Hub. A proxy on a closed port makes that fail in milliseconds, with or
 * without a network.
 */
function environment(options: DockerOptions): NodeJS.ProcessEnv {
  const near = options.mirrors.map((mirror) => new URL(mirror).hostname);
  const nowhere = 'http://127.0.0.1:9';
  return {
    PATH: process.env['PATH'],
    HTTP_PROXY: nowhere,
    HTTPS_PROXY: nowhere,
    NO_PROXY: [
      ...new Set(['localhost', '127.0.0.0/8', '::1', ...near, ...(options.insecureRegistries ?? [])]),
    ].join(','),
  };
}
