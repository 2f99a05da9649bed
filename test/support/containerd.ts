import { mkdir, writeFile } from 'node:fs/promises';
import { findPart, part } from './parts.ts';
import { runProcess, startProcess, type Finished, type RunningProcess } from './processes.ts';
import { TempFolder } from './temp.ts';

export interface ContainerdPull {
  /** A folder with `<registry>/hosts.toml` in it. */
  readonly hostsDir?: string;
  /** `os/architecture`; this machine's by default. */
  readonly platform?: string;
}

export interface ContainerdOptions {
  /** Hosts besides the loopback addresses that `ctr` may talk to without the proxy that leads nowhere. */
  readonly near?: readonly string[];
}

export interface Containerd extends AsyncDisposable {
  readonly pid: number;
  readonly dir: string;
  readonly log: string;
  ctr(...args: string[]): Promise<Finished>;
  /** Fetches and unpacks. @throws {Error} with ctr's own words. */
  pull(image: string, options?: ContainerdPull): Promise<void>;
  /** The digest that the name stands for; `undefined` when containerd does not have it. */
  imageDigest(image: string): Promise<string | undefined>;
  /** The image and all content that no other image needs. */
  remove(image: string): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A real containerd in a throwaway folder, in a mount namespace of its own, so that what it mounts to unpack a layer is
 * gone when it is. It needs root. `ctr` does the HTTP itself: it is `ctr` that reads `hosts.toml`.
 */
export async function startContainerd(options: ContainerdOptions = {}): Promise<Containerd> {
  const folder = new TempFolder('containerd');
  let daemon: RunningProcess | undefined;
  const ctr = clientOf(folder, options);
  async function stop(): Promise<void> {
    await daemon?.stop(30_000);
    await folder.remove();
  }
  try {
    await prepareFolder(folder);
    const unshare = findPart('unshare') ?? 'unshare';
    // Both end in exec: the process id stays, so that a signal reaches containerd itself.
    const args = ['--mount', '--propagation', 'private', part('containerd'), '--config'];
    daemon = await startProcess(unshare, [...args, folder.join('config.toml')], {
      env: { PATH: process.env['PATH'], TMPDIR: folder.join('tmp') },
      readyWithinMs: 60_000,
      ready: async () => (await ctr('version')).code === 0,
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
    ctr,
    async pull(image, { hostsDir, platform } = {}) {
      const args = ['images', 'pull', '--snapshotter', 'native'];
      if (hostsDir !== undefined) args.push('--hosts-dir', hostsDir);
      if (platform !== undefined) args.push('--platform', platform);
      const { code, stderr } = await ctr(...args, image);
      if (code !== 0) throw new Error(`ctr images pull ${image}: ${stderr.trim()}`);
    },
    async imageDigest(image) {
      const { stdout } = await ctr('images', 'ls', `name==${image}`);
      return /sha256:[0-9a-f]{64}/.exec(stdout)?.[0];
    },
    async remove(image) {
      const { code, stderr } = await ctr('images', 'rm', '--sync', image);
      if (code !== 0) throw new Error(`ctr images rm ${image}: ${stderr.trim()}`);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function clientOf(folder: TempFolder, { near = [] }: ContainerdOptions): Containerd['ctr'] {
  // After its mirrors, ctr asks the registry itself. A proxy on a closed port makes that fail in milliseconds.
  const nowhere = 'http://127.0.0.1:9';
  const env = {
    PATH: process.env['PATH'],
    HOME: folder.path,
    HTTP_PROXY: nowhere,
    HTTPS_PROXY: nowhere,
    NO_PROXY: ['localhost', '127.0.0.0/8', '::1', ...near].join(','),
  };
  return (...args) => runProcess(part('ctr'), ['--address', folder.join('socket'), ...args], { env });
}

async function prepareFolder(folder: TempFolder): Promise<void> {
  await mkdir(folder.join('tmp'));
  const config = `version = 2
root = "${folder.join('root')}"
state = "${folder.join('state')}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "${folder.join('socket')}"
[ttrpc]
address = "${folder.join('ttrpc')}"
`;
  await writeFile(folder.join('config.toml'), config);
}
