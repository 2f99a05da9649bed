import type { IncomingMessage, Server } from 'node:http';
import type { Registry } from 'prom-client';
import { ListenerNetworks } from './access/listener-networks.ts';
import type { Config } from './config/config.ts';
import { seconds } from './lib/brand.ts';
import { systemClock } from './lib/clock.ts';
import { ConnectionMetrics } from './observe/connection-metrics.ts';
import type { Log } from './observe/log.ts';
import { Seldom } from './observe/seldom.ts';
import { clientOf, type Client } from './server/connections/client-of.ts';
import { guardConnections } from './server/connections/connection-guard.ts';
import { Connections, type ConnectionLimits } from './server/connections/connections.ts';

const WARN_INTERVAL = seconds(60);

export interface AcceptParts {
  readonly limits: ConnectionLimits;
  readonly registry: Registry;
  readonly log: Log;
  /** The rules let that client not in: for the record. */
  readonly turnedAway?: (client: string) => void;
}

/** The connections of one process, by listener; what is refused and closed is counted, and at a limit one line a minute says so. */
export function acceptConnections(
  networks: Readonly<Record<string, ListenerNetworks>>,
  { limits, registry, log, turnedAway }: AcceptParts,
): Connections {
  const seldom = new Seldom(systemClock, WARN_INTERVAL);
  const metrics = new ConnectionMetrics(registry, () =>
    Object.entries(networks).map(([listener, of]) => [listener, connections.sizeOf(of)]),
  );
  const connections = new Connections({
    limits,
    clock: systemClock,
    refused: (client, reason) => {
      metrics.refused.inc({ reason });
      if (reason === 'network') return turnedAway?.(client);
      seldom.run(`refused ${reason}`, (leftOut) =>
        log.warn({ client, reason, leftOut }, 'connection refused'),
      );
    },
    closed: (reason) => metrics.closed.inc({ reason }),
  });
  return connections;
}

/** What stands in front of the admin listener. */
export interface AdminGuard {
  readonly clientOf: (request: IncomingMessage) => Client;
  /** With the configuration of a reload. */
  readonly change: (config: Config) => void;
}

export function guardAdmin(
  server: Server,
  { access, limits }: Config,
  parts: Omit<AcceptParts, 'limits'>,
): AdminGuard {
  const networks = new ListenerNetworks('admin', access);
  const connections = acceptConnections({ admin: networks }, { ...parts, limits });
  const guard = guardConnections(server, { networks, connections, clock: systemClock });
  return {
    clientOf: (request) => clientOf(request, connections),
    change: (config) => {
      networks.change(config.access);
      connections.change(config.limits);
      guard.enforce();
    },
  };
}
