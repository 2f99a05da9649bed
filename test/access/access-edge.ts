import type { IncomingMessage } from 'node:http';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { Access } from '../../src/access/authorize.ts';
import type { Identity } from '../../src/access/caller.ts';
import type { Identification } from '../../src/access/identification.ts';
import { ListenerNetworks } from '../../src/access/listener-networks.ts';
import { acceptConnections } from '../../src/app-connections.ts';
import { DEFAULT_ACCESS, DEFAULT_LIMITS } from '../../src/config/defaults.ts';
import { clientOf } from '../../src/server/connections/client-of.ts';
import { NO_LIMITS } from '../../src/access/request-limits.ts';
import { Roles } from '../../src/access/roles.ts';
import type { AuditEntry } from '../../src/audit/audit-entry.ts';
import { AuditOutbox } from '../../src/audit/audit-outbox.ts';
import type { RoleConfig } from '../../src/config/access/access-config.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { LineWriter } from '../../src/observe/line-writer.ts';
import { createLog } from '../../src/observe/log.ts';
import { WorkerMetrics } from '../../src/observe/metrics.ts';
import { Hits } from '../../src/server/hit-lane/hits.ts';
import { listenPlain } from '../../src/server/listeners.ts';
import { RequestRecords } from '../../src/server/records/request-records.ts';
import { Pipeline, type InForce } from '../../src/server/pipeline.ts';
import type { PushTarget } from '../../src/server/pushing/push-proxy.ts';
import { Pushes } from '../../src/server/pushing/pushes.ts';
import { pushDoor } from '../../src/upstream/push-agent.ts';
import { CacheSite } from '../cache/cache-site.ts';
import { startCentral, type Central } from '../support/central.ts';
import { get, type Answer, type GetOptions } from '../support/clients.ts';
import { tempFolder } from '../support/temp.ts';
import { reply, serve, type Script, type ScriptedServer } from '../upstream/scripted-server.ts';

/** What may be in force at an {@link AccessEdge}. */
export interface Rules {
  readonly roles?: readonly Partial<RoleConfig>[];
  readonly forbiddenNames?: readonly string[];
  readonly mode?: 'none' | 'edge';
}

export interface AccessEdgeOptions extends Rules {
  /** Who asks from which address. From all others nobody whom the edge knows. */
  readonly people?: ReadonlyMap<string, Pick<Identity, 'user' | 'groups'>>;
  /** Whether clients may push; then a registry that takes everything stands behind the edge. */
  readonly pushes?: boolean;
}

/** The server side of an edge, whole from the socket to the central, where an address stands for a password. */
export class AccessEdge {
  readonly url: string;
  readonly central: Central;
  /** Takes pushes; undefined where they are off. */
  readonly taker: ScriptedServer | undefined;
  readonly #audit: { readonly outbox: AuditOutbox; readonly entries: AuditEntry[] };
  readonly #log: string;
  readonly #put: (rules: Rules) => void;

  constructor(parts: {
    readonly url: string;
    readonly central: Central;
    readonly taker: ScriptedServer | undefined;
    readonly audit: { readonly outbox: AuditOutbox; readonly entries: AuditEntry[] };
    readonly log: string;
    readonly put: (rules: Rules) => void;
  }) {
    this.url = parts.url;
    this.central = parts.central;
    this.taker = parts.taker;
    this.#audit = parts.audit;
    this.#log = parts.log;
    this.#put = parts.put;
  }

  ask(from: string, method: string, path: string, options: GetOptions = {}): Promise<Answer> {
    return get(`${this.url}${path}`, { method, localAddress: from, keepBody: true, ...options });
  }

  /** As a reload does. */
  put(rules: Rules): void {
    this.#put(rules);
  }

  /** What went on record since the last call. */
  recorded(): AuditEntry[] {
    this.#audit.outbox.flush();
    return this.#audit.entries.splice(0);
  }

  get logText(): string {
    return readFileSync(this.#log, 'utf8');
  }
}

export async function startAccessEdge(t: Test, options: AccessEdgeOptions = {}): Promise<AccessEdge> {
  const { people = new Map(), pushes = false } = options;
  const central = await startCentral();
  t.teardown(() => central.stop());
  const site = await CacheSite.open(t, central, { asksCatalog: true, pushed: pushes });
  const taker = pushes ? await serve(t, takesEverything) : undefined;
  const targets = new Map<string, PushTarget>();
  if (taker !== undefined) {
    const url = new URL(taker.url);
    const door = pushDoor(url, undefined, []);
    t.teardown(() => door.agent.destroy());
    targets.set('central', { name: 'central', url, sessionKey: randomBytes(32), ...door });
  }
  const file = join(tempFolder(t, 'log'), 'log');
  const fd = openSync(file, 'w');
  t.teardown(() => closeSync(fd));
  const log = createLog('info', 'test', new LineWriter(fd));
  const entries: AuditEntry[] = [];
  const outbox = new AuditOutbox(systemClock, (handed) => entries.push(...handed));
  const shared = {
    cache: site.worker(),
    upstreams: [{ name: 'central', hosts: [], default: true, officialNamespace: undefined, catalog: true }],
    clock: systemClock,
    log,
    metrics: new WorkerMetrics('test'),
  };
  const networks = new ListenerNetworks('http', DEFAULT_ACCESS);
  const accept = { limits: DEFAULT_LIMITS, registry: shared.metrics.registry, log };
  const connections = acceptConnections({ http: networks }, accept);
  let inForce = inForceBy(options, people);
  const parts = {
    ...shared,
    inForce: () => inForce,
    clientOf: (request: IncomingMessage) => clientOf(request, connections),
    pushes: new Pushes({ ...shared, targets, minRate: () => connections.minRate }),
    records: new RequestRecords({ ...shared, audit: outbox }),
  };
  const pipeline = new Pipeline(parts);
  const hits = new Hits({ ...parts, connections });
  const listener = await listenPlain(
    { host: '127.0.0.1', port: 0 },
    { pipeline, hits, networks, connections, clock: systemClock, pushes, admits: () => false },
  );
  t.teardown(async () => {
    listener.destroy();
    await listener.drain();
    outbox.flush();
  });
  return new AccessEdge({
    url: `http://127.0.0.1:${listener.address.port}`,
    central,
    taker,
    audit: { outbox, entries },
    log: file,
    put: (next) => {
      inForce = inForceBy(next, people);
    },
  });
}

function inForceBy(
  { roles = [], forbiddenNames = [], mode = 'edge' }: Rules,
  people: NonNullable<AccessEdgeOptions['people']>,
): InForce {
  const whole = roles.map((role) => ({
    role: 'reader' as const,
    users: [],
    groups: [],
    networks: [],
    repositories: [],
    ...role,
  }));
  const identification: Identification = {
    identify: ({ address }) => {
      const person = people.get(address);
      return person && { ...person, by: 'htpasswd' };
    },
    challenges: () => (mode === 'edge' ? ['Basic realm="pierhead"'] : []),
  };
  return {
    access: new Access({ identification, roles: new Roles(whole, mode), forbiddenNames }),
    limits: NO_LIMITS,
  };
}

/** A registry that says yes to every push, as distribution words it. */
const takesEverything: Script = (request, response) => {
  const { method = '', url = '' } = request;
  const upload = url.includes('/blobs/uploads/');
  const mounted = new URL(url, 'http://registry').searchParams.get('mount');
  const digest = { 'docker-content-digest': mounted ?? `sha256:${'d'.repeat(64)}` };
  const at = {
    location: `${url
      .split('?', 1)
      .join('')
      .replace(/[^/]*$/, '')}1`,
  };
  request.resume().once('end', () => {
    if (method === 'DELETE') reply(response, upload ? 204 : 202);
    else if (method === 'GET' || method === 'HEAD') reply(response, 204, { range: '0-0' });
    else if (method === 'PUT' || mounted !== null) reply(response, 201, digest);
    else reply(response, 202, at);
  });
};
