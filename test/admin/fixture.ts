import { writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Evidence, Identity } from '../../src/access/caller.ts';
import type { Identification } from '../../src/access/identification.ts';
import { Unauthorized } from '../../src/access/refusals.ts';
import type { Operators } from '../../src/admin/operators.ts';
import { AdminListener } from '../../src/app-admin.ts';
import { EdgeKeeper } from '../../src/app-keeper.ts';
import type { TlsSettings } from '../../src/app-worker.ts';
import type { ActFacts } from '../../src/audit/audit-entry.ts';
import { loadConfig } from '../../src/config/load.ts';
import { parseImage } from '../../src/oci/image-reference.ts';
import { RegistryError } from '../../src/oci/error-codes.ts';
import { createLog } from '../../src/observe/log.ts';
import { StoreLayout } from '../../src/store/layout.ts';
import { startCentral, type Central } from '../support/central.ts';
import { get, type Answer, type GetOptions } from '../support/clients.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createImage } from '../support/images.ts';
import { tempFolder } from '../support/temp.ts';
import { makeSite, type Site } from '../tls/serving/fixture.ts';

export const ADA = `Basic ${Buffer.from('ada:correct horse').toString('base64')}`;
export const BOB = `Basic ${Buffer.from('bob:battery staple').toString('base64')}`;
/** Ada's, as `htpasswd -B` writes it. */
export const HASH = '$2b$04$BpVtwrwpKszJ9EbZHAWUuOfISjwu2S6DGXo96NngcIjtviC2RF69e';

const KNOWN: Readonly<Record<string, Identity>> = {
  [ADA]: { user: 'ada', groups: [], by: 'htpasswd' },
  [BOB]: { user: 'bob', groups: [], by: 'htpasswd' },
  'Bearer of-ada-for-pulling': {
    user: 'ada',
    groups: [],
    by: 'token',
    scopes: [{ name: 'library/app', actions: ['pull'] }],
  },
};

/** Knows Ada, who is an operator, and Bob, who is not. */
const IDENTIFICATION: Identification = {
  identify({ authorization }: Evidence) {
    if (authorization === undefined) return undefined;
    if (authorization === 'Basic down') throw new RegistryError('UNAVAILABLE', 'no directory');
    const identity = KNOWN[authorization];
    if (identity === undefined) throw new Unauthorized('wrong name or password', []);
    return Promise.resolve(identity);
  },
  challenges: () => ['Bearer realm="https://edge/token",service="edge"', 'Basic realm="pierhead"'],
};

/** One that knows nobody else: the seam that the wiring fills. */
export const OPERATORS: Operators = {
  identifies: true,
  identification: IDENTIFICATION,
  isOperator: ({ identity }) => identity?.user === 'ada',
  start: () => undefined,
  close: () => undefined,
};

export interface Act extends ActFacts {
  readonly action: string;
  readonly reason: string;
}

export interface Admin {
  readonly url: string;
  readonly site: Site;
  readonly central: Central;
  readonly clock: FakeClock;
  readonly listener: AdminListener;
  /** What went on record, in order. */
  readonly acts: Act[];
  /** How often a reload was asked for. */
  readonly reloads: { count: number };
  readonly ask: (
    path: string,
    options?: GetOptions & { as?: string; json?: unknown },
  ) => Promise<Answer & { content: unknown }>;
  /** The other way to serve: other operators, another certificate. */
  readonly reload: (operators: Operators, tls?: TlsSettings) => void;
  /** Blob and manifest files: what a purge takes. */
  readonly files: () => Promise<string[]>;
}

export function tlsSettings(site: Site): TlsSettings {
  const ticketKeys = Buffer.alloc(48).toString('base64');
  return { ...site.main, further: [], minVersion: 'TLSv1.2', ticketKeys };
}

/** An admin listener on a real keeper, beyond loopback unless `host` says otherwise; `library/app` is in its cache. */
export async function startAdmin(
  t: Test,
  settings: { host?: string; operators?: Operators; access?: string } = {},
): Promise<Admin> {
  const { host = '0.0.0.0', access = '{}' } = settings;
  const clock = new FakeClock();
  const site = await makeSite(t, ['localhost', '127.0.0.1']);
  const central = await startCentral();
  t.teardown(() => central.stop());
  central.addImage('library/app', 'latest', createImage({ layers: [3000] }));
  const folder = tempFolder(t, 'admin');
  writeFileSync(join(folder, 'users'), `ada:${HASH}\n`, { mode: 0o600 });
  const text = `listen: { https: '127.0.0.1:0', http: null, admin: '${host}:0' }
upstreams: [{ name: central, url: '${central.url}', default: true }]
access: ${access}
auth: { mode: edge, edge: { htpasswd: users } }
roles: [{ role: operator, users: [ada] }]
`;
  writeFileSync(join(folder, 'pierhead.yaml'), text, { mode: 0o600 });
  const config = loadConfig({
    file: join(folder, 'pierhead.yaml'),
    flags: {},
    env: {},
    cwd: folder,
    cpus: 1,
  });
  const layout = new StoreLayout(config.storage.path);
  await layout.create();
  const keeper = await EdgeKeeper.open(config, layout, createLog('silent', 'test'), () => 1);
  t.teardown(() => keeper.stop());
  await keeper.settleIn();
  const acts: Act[] = [];
  const reloads = { count: 0 };
  const report = { changed: [], needRestart: [], newCertificates: false };
  const reload = async () => {
    reloads.count += 1;
    return report;
  };
  let operators = settings.operators ?? OPERATORS;
  const listener = new AdminListener({ host, port: 0 }, config, tlsSettings(site), {
    ready: () => true,
    exposition: async () => ({ contentType: 'text/plain', text: 'pierhead_up 1\n' }),
    edge: {
      inventory: () => keeper.inventory,
      warming: () => keeper.warming,
      reloads: () => ({ reload, reloadCertificates: reload }),
      view: {
        health: () => ({ ready: true, workers: 1, upstreams: keeper.upstreams }),
        certificates: () => [],
      },
    },
    clock,
    operatorsOf: () => operators,
    acted: (action, reason, facts) => acts.push({ action, reason, ...facts }),
    accept: { registry: keeper.metrics.registry, log: createLog('silent', 'test') },
    failed: (error) => t.fail(String(error)),
  });
  t.teardown(() => listener.close());
  const { port } = await listener.listen();
  const url = `${host === '0.0.0.0' ? 'https' : 'http'}://127.0.0.1:${port}`;
  const admin: Admin = {
    url,
    site,
    central,
    clock,
    listener,
    acts,
    reloads,
    ask: async (path, { as, json, ...options } = {}) => {
      const headers = {
        ...(as !== undefined && { authorization: as }),
        ...(json !== undefined && { 'content-type': 'application/json' }),
        ...options.headers,
      };
      const body = json === undefined ? options.body : JSON.stringify(json);
      const sent = { ...(body !== undefined && { body, method: 'POST' }), ...options, headers };
      const answer = await get(url + path, { ca: site.ca, servername: 'localhost', keepBody: true, ...sent });
      return { ...answer, content: contentOf(answer) };
    },
    reload: (next, tls = tlsSettings(site)) => {
      operators = next;
      listener.reload(config, tls);
    },
    files: async () =>
      (
        await Promise.all(
          [layout.blobs, layout.manifests].map((below) => readdir(below, { recursive: true })),
        )
      )
        .flat()
        .sort(),
  };
  await keeper.warming.warmer.warm(
    { images: [imageOf(keeper)], platforms: undefined, pin: false },
    () => undefined,
  );
  return admin;
}

function imageOf(keeper: EdgeKeeper) {
  const read = parseImage('library/app', keeper.warming.upstreams);
  if ('problem' in read) throw new Error(read.problem);
  return read.image;
}

function contentOf({ headers, body }: Answer): unknown {
  const text = body.toString();
  return headers['content-type'] === 'application/json' && text !== '' ? JSON.parse(text) : text;
}
