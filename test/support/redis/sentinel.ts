import { writeFile } from 'node:fs/promises';
import { eventually } from '../eventually.ts';
import { freePort } from '../free-port.ts';
import { part } from '../parts.ts';
import { startProcess, type RunningProcess } from '../processes.ts';
import { plainClient, startRedis, type RedisServer } from '../redis.ts';
import { TempFolder } from '../temp.ts';

/** A master with one replica, and one Sentinel that watches them. */
export interface SentinelSite extends AsyncDisposable {
  /** The master's name at the Sentinel. */
  readonly name: string;
  /** `host:port`, as the configuration takes them. */
  readonly sentinels: readonly string[];
  readonly first: RedisServer;
  readonly second: RedisServer;
  /** The port of the master as the Sentinel knows it now. */
  masterPort(): Promise<number>;
  /** Resolves when the Sentinel has made another one the master, whatever became of the old one. */
  failedOver(from: number): Promise<void>;
  remove(): Promise<void>;
}

export async function startSentinelSite(): Promise<SentinelSite> {
  const name = 'site';
  const folder = new TempFolder('sentinel');
  const port = await freePort();
  const servers: RedisServer[] = [];
  let sentinel: RunningProcess | undefined;

  async function ask(...words: [string, ...string[]]): Promise<unknown> {
    const client = plainClient({ host: '127.0.0.1', port });
    try {
      return await client.call(...words);
    } finally {
      client.disconnect();
    }
  }
  async function masterPort(): Promise<number> {
    const [, found] = (await ask('SENTINEL', 'get-master-addr-by-name', name)) as [string, string];
    return Number(found);
  }
  async function remove(): Promise<void> {
    await sentinel?.kill();
    for (const server of servers) await server.remove();
    await folder.remove();
  }

  try {
    const first = await startRedis();
    servers.push(first);
    const second = await startRedis({
      config: [`replicaof 127.0.0.1 ${first.port}`, 'repl-diskless-sync-delay 0'],
    });
    servers.push(second);
    await eventually(async () =>
      String(await second.command('INFO', 'replication')).includes('link_status:up'),
    );
    const conf = folder.join('sentinel.conf');
    const lines = [
      'bind 127.0.0.1',
      `port ${port}`,
      `dir ${folder.path}`,
      `sentinel monitor ${name} 127.0.0.1 ${first.port} 1`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 2000`,
    ];
    await writeFile(conf, `${lines.join('\n')}\n`, { mode: 0o600 });
    sentinel = await startProcess(part('redis-server'), [conf, '--sentinel'], {
      cwd: folder.path,
      // A failover needs a replica to choose.
      ready: async () => ((await ask('SENTINEL', 'replicas', name)) as unknown[]).length === 1,
    });
    return {
      name,
      sentinels: [`127.0.0.1:${port}`],
      first,
      second,
      masterPort,
      failedOver: async (from) => {
        await eventually(async () => (await masterPort()) !== from, {
          timeoutMs: 30_000,
          what: () => `the Sentinel makes another one the master:\n${sentinel?.lastWords}`,
        });
      },
      remove,
      [Symbol.asyncDispose]: remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
