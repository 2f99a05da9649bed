import { writeFile } from 'node:fs/promises';
import { freePort } from './free-port.ts';
import { part } from './parts.ts';
import { portAnswers, startProcess, type RunningProcess } from './processes.ts';
import { TempFolder } from './temp.ts';
import type { TokenAuth } from './token-server.ts';

export interface RegistryOptions {
  /** Kept after `stop` when given; otherwise a throwaway folder. */
  readonly dir?: string;
  readonly port?: number;
  /** Turns on the reference registry's own proxy mode. */
  readonly proxyUpstream?: string;
  /** An htpasswd file (bcrypt): turns on basic authentication. */
  readonly htpasswd?: string;
  /** Turns on token authentication. */
  readonly token?: TokenAuth;
}

export interface Registry extends AsyncDisposable {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly dir: string;
  readonly log: string;
  /** Ends the process; the port refuses connections from then on. The data stays for {@link start}. */
  stop(): Promise<void>;
  /** Starts it again on the same port with the same data. */
  start(): Promise<void>;
  /** Ends the process and removes its throwaway folder. */
  remove(): Promise<void>;
}

/** A real docker-registry 2.8 on the loopback address, with its data in a folder. */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const folder = options.dir === undefined ? new TempFolder('registry') : undefined;
  const dir = options.dir ?? folder?.path ?? '';
  const port = options.port ?? (await freePort());
  const config = folder ?? new TempFolder('registry');
  const configFile = config.join('config.json');
  let running: RunningProcess | undefined;

  async function start(): Promise<void> {
    await writeConfig(configFile, dir, port, options);
    running = await startProcess(part('docker-registry'), ['serve', configFile], {
      env: { PATH: process.env['PATH'], OTEL_TRACES_EXPORTER: 'none' },
      ready: () => portAnswers(port),
    });
  }
  async function stop(): Promise<void> {
    await running?.stop();
  }
  async function remove(): Promise<void> {
    await stop();
    await config.remove();
  }

  try {
    await start();
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    url: `http://127.0.0.1:${port}`,
    host: '127.0.0.1',
    port,
    dir,
    get log() {
      return `${running?.stdout ?? ''}${running?.stderr ?? ''}`;
    },
    start,
    stop,
    remove,
    [Symbol.asyncDispose]: remove,
  };
}

async function writeConfig(file: string, dir: string, port: number, options: RegistryOptions): Promise<void> {
  // JSON is YAML.
  const config = {
    version: 0.1,
    log: { level: 'info', accesslog: { disabled: false } },
    storage: {
      filesystem: { rootdirectory: dir, maxthreads: 100 },
      cache: { blobdescriptor: 'inmemory' },
      delete: { enabled: true },
      maintenance: { uploadpurging: { enabled: false } },
    },
    http: { addr: `127.0.0.1:${port}`, secret: 'not-a-secret' },
    ...(options.proxyUpstream === undefined ? {} : { proxy: { remoteurl: options.proxyUpstream } }),
    ...(options.htpasswd === undefined
      ? {}
      : { auth: { htpasswd: { realm: 'registry', path: options.htpasswd } } }),
    ...(options.token === undefined ? {} : { auth: { token: options.token } }),
  };
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
}
