import { eventually } from '../eventually.ts';
import { freePorts } from '../free-port.ts';
import { startRedis, type RedisServer, type RedisServerOptions } from '../redis.ts';

const SLOTS = 16_384;
const NODES = 3;

/** Three masters that share the slots between them, without replicas. */
export interface RedisCluster extends AsyncDisposable {
  readonly nodes: readonly RedisServer[];
  /** The keys of all nodes. */
  keys(): Promise<string[]>;
  /** Moves the slot of `key` with all that is in it to another node, as `redis-cli --cluster reshard` does. */
  moveSlotOf(key: string): Promise<void>;
  remove(): Promise<void>;
}

export async function startRedisCluster(options: RedisServerOptions = {}): Promise<RedisCluster> {
  const nodes: RedisServer[] = [];
  async function remove(): Promise<void> {
    for (const node of nodes) await node.remove();
  }
  try {
    for (const busPort of await freePorts(NODES)) {
      const config = ['cluster-enabled yes', `cluster-port ${busPort}`, 'cluster-node-timeout 2000'];
      const node = await startRedis({ ...options, config: [...config, ...(options.config ?? [])] });
      nodes.push(node);
      const from = Math.floor((SLOTS * (nodes.length - 1)) / NODES);
      const to = Math.floor((SLOTS * nodes.length) / NODES) - 1;
      await node.command('CLUSTER', 'ADDSLOTSRANGE', from, to);
      const [first] = nodes;
      if (first === undefined || first === node) continue;
      await first.command('CLUSTER', 'MEET', node.host, node.port, busPort);
    }
    for (const node of nodes)
      await eventually(
        async () =>
          /cluster_state:ok[^]*cluster_known_nodes:3/.test(String(await node.command('CLUSTER', 'INFO'))),
        { timeoutMs: 20_000, what: 'the cluster has come together' },
      );
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    nodes,
    keys: async () => (await Promise.all(nodes.map((node) => node.keys()))).flat().toSorted(),
    moveSlotOf: (key) => moveSlotOf(nodes, key),
    remove,
    [Symbol.asyncDispose]: remove,
  };
}

async function moveSlotOf(nodes: readonly RedisServer[], key: string): Promise<void> {
  const ids = await Promise.all(nodes.map(async (node) => String(await node.command('CLUSTER', 'MYID'))));
  const [any] = nodes;
  if (any === undefined) throw new Error('a cluster has nodes');
  const slot = Number(await any.command('CLUSTER', 'KEYSLOT', key));
  const at = Math.floor((slot * NODES) / SLOTS);
  const owner = nodes[at];
  const to = (at + 1) % NODES;
  const target = nodes[to];
  const [ownerId, targetId] = [ids[at], ids[to]];
  if (owner === undefined || target === undefined || ownerId === undefined || targetId === undefined)
    throw new Error(`slot ${slot} has no node`);
  await target.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ownerId);
  await owner.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', targetId);
  for (;;) {
    const keys = (await owner.command('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[];
    if (keys.length === 0) break;
    await owner.command('MIGRATE', target.host, target.port, '', 0, 5000, 'KEYS', ...keys);
  }
  for (const node of [target, owner, ...nodes])
    await node.command('CLUSTER', 'SETSLOT', slot, 'NODE', targetId);
}
