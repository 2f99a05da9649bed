import { Cluster, Redis, type ClusterOptions, type RedisOptions } from 'ioredis';

/** A node: a TCP address, or the path of a Unix socket. */
export type RedisAddress = { readonly host: string; readonly port: number } | { readonly path: string };

export interface RedisTls {
  /** PEM; without it the system's authorities are trusted. */
  readonly ca?: string;
  /** A client certificate, PEM. */
  readonly cert?: string;
  readonly key?: string;
  /** The name on the server's certificate, where it is not the host's. */
  readonly servername?: string;
}

/** Where the shared store is and who asks it. It holds passwords: never logged. */
export interface RedisTarget {
  readonly mode: 'standalone' | 'sentinel' | 'cluster';
  /** The server, the Sentinels, or the cluster's first nodes. */
  readonly nodes: readonly RedisAddress[];
  /** What the Sentinels call the master. */
  readonly name?: string;
  readonly database: number;
  readonly tls?: RedisTls;
  readonly username?: string;
  readonly password?: string;
  readonly sentinelUsername?: string;
  readonly sentinelPassword?: string;
}

export type RedisClient = Redis | Cluster;

/** For what the connection itself asks: a handshake over a slow line may take longer than a call may. */
const HANDSHAKE_MS = 1000;
/** A peer that does not close its side is left after so long. */
const CLOSE_MS = 200;
const LONGEST_PAUSE_MS = 2000;

/**
 * A client that holds nothing back: what cannot be sent now fails now, and nothing is sent twice. It comes back by
 * itself, at most {@link LONGEST_PAUSE_MS} after Redis does. Connects at once, in the background.
 */
export function createClient(target: RedisTarget): RedisClient {
  const common = commonOptions(target);
  if (target.mode === 'cluster') return createCluster(target, common);
  const [first] = target.nodes;
  const where =
    target.mode === 'sentinel' ? sentinelOptions(target) : (first ?? { host: '127.0.0.1', port: 6379 });
  const client = new Redis({ ...common, ...where, db: target.database, retryStrategy: pauseBefore });
  handleRejections(client);
  return client;
}

function commonOptions({ username, password, tls }: RedisTarget): RedisOptions {
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls !== undefined && { tls: { ...tls, minVersion: 'TLSv1.2' } }),
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // No `socketTimeout`: ioredis 5.11 leaves its timer running when a connection ends, and it then cuts the next one.
    commandTimeout: HANDSHAKE_MS,
    connectTimeout: HANDSHAKE_MS,
    disconnectTimeout: CLOSE_MS,
    // CLIENT SETINFO is one more command that an ACL would have to allow.
    disableClientInfo: true,
  };
}

function sentinelOptions(target: RedisTarget): RedisOptions {
  const { name, nodes, tls, sentinelUsername, sentinelPassword } = target;
  return {
    sentinels: nodes.flatMap((node) => ('path' in node ? [] : [{ host: node.host, port: node.port }])),
    ...(name !== undefined && { name }),
    ...(sentinelUsername !== undefined && { sentinelUsername }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    ...(tls !== undefined && { sentinelTLS: { ...tls }, enableTLSForSentinelMode: true }),
    sentinelCommandTimeout: HANDSHAKE_MS,
    sentinelRetryStrategy: pauseBefore,
    // A master that was made a replica: the Sentinels know the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  };
}

function createCluster({ nodes }: RedisTarget, common: RedisOptions): Cluster {
  const { enableOfflineQueue: _, ...redisOptions } = common;
  const options: ClusterOptions = {
    redisOptions,
    enableOfflineQueue: false,
    clusterRetryStrategy: pauseBefore,
    slotsRefreshTimeout: HANDSHAKE_MS,
    maxRedirections: 4,
    // Certificates are checked against names: they are not turned into addresses before.
    dnsLookup: (host, callback) => callback(null, host),
  };
  const seeds = nodes.flatMap((node) => ('path' in node ? [] : [{ host: node.host, port: node.port }]));
  const cluster = new Cluster(seeds, options);
  cluster.on('+node', handleRejections);
  return cluster;
}

/**
 * ioredis sends some commands of its own without looking at their outcome (ASKING in a cluster, SUBSCRIBE after a
 * reconnect); when the connection breaks under one, its rejection would end the process. Callers still see theirs.
 */
export function handleRejections(client: Redis): void {
  const send = client.sendCommand.bind(client);
  client.sendCommand = (command, stream) => {
    command.promise.catch(() => undefined);
    return send(command, stream);
  };
}

/** Milliseconds before the given attempt to connect again. */
function pauseBefore(attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 10), LONGEST_PAUSE_MS);
}
