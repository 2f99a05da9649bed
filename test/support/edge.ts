import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts } from './free-port.ts';
import { get } from './clients.ts';
import { parseMetrics, type Metrics } from './metrics.ts';
import { startProcess, type Exit, type RunningProcess } from './processes.ts';
import { TempFolder } from './temp.ts';

export interface EdgeOptions {
  /** Keys of the configuration file; listeners and the data folder are set on the command line. */
  readonly config?: object;
  /** The same as text; not together with `config`. */
  readonly configYaml?: string;
  readonly workers?: number;
  readonly flags?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Holds the configuration and the data; kept after `stop` when given. */
  readonly dir?: string;
  readonly readyWithinMs?: number;
}

export interface Edge extends AsyncDisposable {
  readonly http: string;
  readonly https: string;
  readonly admin: string;
  readonly dir: string;
  /** Of the first process, which the others belong to. */
  readonly pid: number;
  readonly output: string;
  /** The log's lines since the last start. */
  logs(): Record<string, unknown>[];
  metrics(): Promise<Metrics>;
  /** SIGTERM: the edge drains. The folder stays until {@link remove}. */
  stop(): Promise<Exit>;
  /** SIGKILL: as if the power failed. */
  kill(): Promise<Exit>;
  signal(signal: NodeJS.Signals): void;
  /** Starts it again, on the same ports and the same data, stopping it first if it runs. */
  restart(): Promise<void>;
  /** Resident bytes of each process, by its id. */
  rssOf(): Promise<Map<number, number>>;
  /** Stops it and removes the throwaway folder. */
  remove(): Promise<void>;
}

const MAIN = join(import.meta.dirname, '../../src/main.ts');

/** The edge as a user starts it: the command, a configuration file, free ports. Resolves when `/readyz` says so. */
export async function startEdge(options: EdgeOptions = {}): Promise<Edge> {
  const folder = options.dir === undefined ? new TempFolder('edge') : undefined;
  const dir = options.dir ?? folder?.path ?? '';
  const [http = 0, https = 0, admin = 0] = await freePorts(3);
  const args = [MAIN, 'serve', ...(await commandLine(dir, { http, https, admin }, options))];
  let running: RunningProcess | undefined;

  async function start(): Promise<RunningProcess> {
    running = await startProcess(process.execPath, args, {
      env: { ...process.env, NODE_OPTIONS: '', ...options.env },
      cwd: dir,
      readyWithinMs: options.readyWithinMs ?? 20_000,
      ready: async () => (await get(`http://127.0.0.1:${admin}/readyz`, { timeoutMs: 2000 })).status === 200,
    });
    return running;
  }
  async function remove(): Promise<void> {
    await running?.stop();
    await folder?.remove();
  }

  let edge: RunningProcess;
  try {
    edge = await start();
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    http: `http://127.0.0.1:${http}`,
    https: `https://127.0.0.1:${https}`,
    admin: `http://127.0.0.1:${admin}`,
    dir,
    get pid() {
      return edge.pid;
    },
    get output() {
      return `${edge.stdout}${edge.stderr}`;
    },
    logs: () => parseLines(edge.stdout),
    async metrics() {
      const { body } = await get(`http://127.0.0.1:${admin}/metrics`, { keepBody: true });
      return parseMetrics(body.toString('utf8'));
    },
    // Longer than the edge may take to drain.
    stop: () => edge.stop(40_000),
    kill: () => edge.kill(),
    signal: (signal) => edge.signal(signal),
    async restart() {
      await edge.stop(40_000);
      edge = await start();
    },
    rssOf: () => residentBytes(edge.pid),
    remove,
    [Symbol.asyncDispose]: remove,
  };
}

type Ports = Readonly<Record<'http' | 'https' | 'admin', number>>;

async function commandLine(dir: string, ports: Ports, options: EdgeOptions): Promise<string[]> {
  const args = ['--data', join(dir, 'data')];
  for (const [listener, port] of Object.entries(ports)) args.push(`--${listener}`, `127.0.0.1:${port}`);
  if (options.workers !== undefined) args.push('--workers', String(options.workers));
  // JSON is YAML.
  const text = options.configYaml ?? (options.config && JSON.stringify(options.config, undefined, 2));
  if (text !== undefined) {
    const file = join(dir, 'pierhead.yaml');
    await writeFile(file, text, { mode: 0o600 });
    args.push('--config', file);
  }
  return [...args, ...(options.flags ?? [])];
}

/** Lines that are not JSON are left out: they are in `output`. */
function parseLines(text: string): Record<string, unknown>[] {
  return text.split('\n').flatMap((line) => {
    if (!line.startsWith('{')) return [];
    try {
      return [JSON.parse(line) as Record<string, unknown>];
    } catch {
      return [];
    }
  });
}

/** The process and all that descend from it, as /proc has them. */
async function residentBytes(root: number): Promise<Map<number, number>> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0);
  const processes = new Map<number, { parent: number; bytes: number }>();
  for (const pid of pids) {
    // A process may end between the listing and the reading.
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    const field = (name: string): number =>
      Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(status)?.[1] ?? 0);
    processes.set(pid, { parent: field('PPid'), bytes: field('VmRSS') * 1024 });
  }
  const tree = new Map<number, number>();
  const add = (pid: number): void => {
    tree.set(pid, processes.get(pid)?.bytes ?? 0);
    for (const [child, { parent }] of processes) if (parent === pid) add(child);
  };
  if (processes.has(root)) add(root);
  return tree;
}
