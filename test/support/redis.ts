import { readFile, rm, writeFile } from 'node:fs/promises';
import { Redis, type RedisOptions } from 'ioredis';
import { freePort } from './free-port.ts';
import { part } from './parts.ts';
import { startProcess, type RunningProcess } from './processes.ts';
import { selfSigned } from './self-signed.ts';
import { TempFolder } from './temp.ts';

export interface RedisServerOptions {
  readonly port?: number;
  /** Of the user `default`, which may do everything. */
  readonly password?: string;
  /** Lines of an ACL file: `user edge on >secret ~pierhead:* +get`. */
  readonly acl?: readonly string[];
  /** Only TLS, with a certificate that is its own authority: see {@link RedisServer.caFile}. */
  readonly tls?: boolean;
  /** Further lines of redis.conf: `maxmemory 10mb`. */
  readonly config?: readonly string[];
}

/** A real redis-server on the loopback address, which keeps nothing on disk. */
export interface RedisServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Without credentials. */
  readonly url: string;
  readonly dir: string;
  readonly pid: number;
  readonly log: string;
  /** The authority of its certificate, with `tls`. */
  readonly caFile: string | undefined;
  /** One command as the user `default`, by a client beside the edge's. */
  command(...words: [string, ...(string | number | Buffer)[]]): Promise<unknown>;
  /** All keys. */
  keys(): Promise<string[]>;
  /** The whole content as it would lie on disk, uncompressed. */
  dump(): Promise<Buffer>;
  /** SIGSTOP: connections stay, nothing answers. {@link resume} ends it. */
  pause(): void;
  resume(): void;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again on the same port, empty. */
  start(): Promise<void>;
  /** Ends the process, also a paused one, and removes its folder. */
  remove(): Promise<void>;
}

/** A client of a test's own: it does not try again, so that a fault is seen at once. */
export function plainClient(options: RedisOptions): Redis {
  const client = new Redis({ maxRetriesPerRequest: 0, retryStrategy: () => null, ...options });
  // Without a listener ioredis prints; whoever sends a command is told by its answer.
  client.on('error', () => undefined);
  return client;
}

export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = new TempFolder('redis');
  const dir = folder.path;
  const port = options.port ?? (await freePort());
  const tls = options.tls === true ? await selfSigned(dir) : undefined;
  const conf = folder.join('redis.conf');
  await writeFile(conf, `${configOf(dir, port, options).join('\n')}\n`, { mode: 0o600 });
  const connection: RedisOptions = {
    host: '127.0.0.1',
    port,
    ...(options.password !== undefined && { password: options.password }),
    ...(tls !== undefined && { tls: { ca: tls.cert } }),
  };
  let running: RunningProcess | undefined;

  const command: RedisServer['command'] = async (name, ...words) => {
    const client = plainClient(connection);
    try {
      return await client.call(name, ...words);
    } finally {
      client.disconnect();
    }
  };
  async function start(): Promise<void> {
    running = await startProcess(part('redis-server'), [conf], {
      cwd: dir,
      ready: async () => (await command('PING')) === 'PONG',
    });
  }
  async function kill(): Promise<void> {
    await running?.kill();
  }
  async function remove(): Promise<void> {
    await kill();
    await folder.remove();
  }

  try {
    await start();
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    host: '127.0.0.1',
    port,
    url: `${tls === undefined ? 'redis' : 'rediss'}://127.0.0.1:${port}`,
    dir,
    get pid() {
      return running?.pid ?? 0;
    },
    get log() {
      return running?.lastWords ?? '';
    },
    caFile: tls?.certFile,
    command,
    keys: async () => ((await command('KEYS', '*')) as string[]).toSorted(),
    async dump() {
      await command('SAVE');
      const file = folder.join('dump.rdb');
      const content = await readFile(file);
      // Or the next start would find it.
      await rm(file);
      return content;
    },
    pause: () => running?.signal('SIGSTOP'),
    resume: () => running?.signal('SIGCONT'),
    kill,
    start,
    remove,
    [Symbol.asyncDispose]: remove,
  };
}

function configOf(dir: string, port: number, options: RedisServerOptions): string[] {
  const { password, acl = [], tls = false, config = [] } = options;
  return [
    'bind 127.0.0.1',
    tls ? 'port 0' : `port ${port}`,
    ...(tls
      ? [
          `tls-port ${port}`,
          `tls-cert-file ${dir}/self-signed.crt`,
          `tls-key-file ${dir}/self-signed.key`,
          `tls-ca-cert-file ${dir}/self-signed.crt`,
          'tls-auth-clients no',
        ]
      : []),
    `dir ${dir}`,
    'save ""',
    'appendonly no',
    'rdbcompression no',
    'enable-debug-command local',
    ...(password === undefined ? [] : [`requirepass ${password}`]),
    ...acl,
    ...config,
  ];
}
