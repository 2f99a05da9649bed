import { findPart, part } from './parts.ts';
import { runProcess, type Finished } from './processes.ts';
import { TempFolder } from './temp.ts';

export interface PodmanOptions {
  /** What podman and skopeo see as `/etc/containers`; a `policy.json` has to be in it. */
  readonly etc: string;
  /** Hosts besides the loopback addresses that they may talk to without the proxy that leads nowhere. */
  readonly near?: readonly string[];
}

export interface Podman extends AsyncDisposable {
  /** @throws {Error} with podman's own words. */
  pull(image: string): Promise<void>;
  /** The digest of the image's config; `undefined` when podman does not have it. */
  imageId(image: string): Promise<string | undefined>;
  /** `skopeo` with the same files. */
  skopeo(...args: string[]): Promise<Finished>;
}

/** A real podman with its images in a throwaway folder. It has no daemon; each call sees an `/etc/containers` of its own. */
export function openPodman({ etc, near = [] }: PodmanOptions): Podman {
  const folder = new TempFolder('podman');
  const nowhere = 'http://127.0.0.1:9';
  const env = {
    PATH: process.env['PATH'],
    HOME: folder.path,
    XDG_RUNTIME_DIR: folder.path,
    TMPDIR: folder.path,
    HTTP_PROXY: nowhere,
    HTTPS_PROXY: nowhere,
    NO_PROXY: ['localhost', '127.0.0.0/8', '::1', ...near].join(','),
  };
  const inNamespace = (command: string, args: readonly string[]): Promise<Finished> => {
    const script = 'mkdir -p /etc/containers && mount --bind "$0" /etc/containers && exec "$@"';
    const unshare = ['--mount', '--propagation', 'private', 'sh', '-c', script, etc];
    return runProcess(findPart('unshare') ?? 'unshare', [...unshare, command, ...args], { env });
  };
  const storage = ['--storage-driver', 'vfs', '--events-backend', 'none', '--cgroup-manager', 'cgroupfs'];
  const places = ['root', 'runroot', 'tmpdir'].flatMap((name) => [`--${name}`, folder.join(name)]);
  const podman = (...args: string[]): Promise<Finished> =>
    inNamespace(part('podman'), [...storage, ...places, ...args]);
  return {
    async pull(image) {
      const { code, stderr } = await podman('pull', '--quiet', image);
      if (code !== 0) throw new Error(`podman pull ${image}: ${stderr.trim()}`);
    },
    async imageId(image) {
      const { code, stdout } = await podman('image', 'inspect', '--format', '{{.Id}}', image);
      return code === 0 ? `sha256:${stdout.trim()}` : undefined;
    },
    skopeo: (...args) => inNamespace(part('skopeo'), ['--tmpdir', folder.path, ...args]),
    [Symbol.asyncDispose]: () => folder.remove(),
  };
}
