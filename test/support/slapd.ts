import { mkdir, writeFile } from 'node:fs/promises';
import { Client } from 'ldapts';
import { freePorts } from './free-port.ts';
import { part } from './parts.ts';
import { startProcess, type RunningProcess } from './processes.ts';
import { selfSigned } from './self-signed.ts';
import { TempFolder } from './temp.ts';

const SUFFIX = 'dc=corp';
const ROOT = { dn: `cn=root,${SUFFIX}`, password: 'root' };
/** Who may read all but passwords. */
const SERVICE = { dn: `cn=edge,${SUFFIX}`, password: 'canary-service-password' };

/** A real OpenLDAP on the loopback address, with the folder `ou=people` and `ou=groups` below `dc=corp`. */
export interface Slapd extends AsyncDisposable {
  readonly ldaps: string;
  /** For StartTLS; nothing may be asked there in the clear. */
  readonly ldap: string;
  /** PEM text of its certificate, which is its own authority and good for 127.0.0.1 only. */
  readonly ca: string;
  readonly service: typeof SERVICE;
  readonly people: string;
  readonly groups: string;
  readonly log: string;
  /** Adds `uid=NAME` below `ou=people`; returns its DN. */
  person(
    uid: string,
    password: string | undefined,
    more?: Readonly<Record<string, string | string[]>>,
  ): Promise<string>;
  /** Adds `cn=NAME` below `ou=groups`. */
  group(cn: string | string[], members: readonly string[]): Promise<void>;
  /** SIGSTOP: connections stay, nothing answers. {@link resume} ends it. */
  pause(): void;
  resume(): void;
  /** SIGKILL; the data stays. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

export interface SlapdOptions {
  /** Whether nobody may read as well, without the service account. */
  readonly anonymous?: boolean;
}

export async function startSlapd({ anonymous = false }: SlapdOptions = {}): Promise<Slapd> {
  const folder = new TempFolder('slapd');
  const [securePort, plainPort] = await freePorts(2);
  const [ldaps, ldap] = [`ldaps://127.0.0.1:${securePort}`, `ldap://127.0.0.1:${plainPort}`];
  const { cert, certFile } = await selfSigned(folder.path);
  const ca = cert.toString('utf8');
  await mkdir(folder.join('db'));
  await writeFile(folder.join('slapd.conf'), configOf(folder.path, certFile, anonymous), { mode: 0o600 });
  let running: RunningProcess | undefined;

  async function asRoot<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client({ url: ldaps, timeout: 5000, connectTimeout: 5000, tlsOptions: { ca } });
    try {
      await client.bind(ROOT.dn, ROOT.password);
      return await work(client);
    } finally {
      await client.unbind();
    }
  }
  async function start(): Promise<void> {
    const args = ['-f', folder.join('slapd.conf'), '-h', `${ldaps} ${ldap}`, '-d', 'stats'];
    running = await startProcess(part('slapd'), args, {
      cwd: folder.path,
      ready: async () => await asRoot(async () => true),
    });
  }
  async function remove(): Promise<void> {
    await running?.kill();
    await folder.remove();
  }

  const [people, groups] = [`ou=people,${SUFFIX}`, `ou=groups,${SUFFIX}`];
  try {
    await start();
    await asRoot(async (client) => {
      await client.add(SUFFIX, { objectClass: ['dcObject', 'organization'], dc: 'corp', o: 'corp' });
      for (const [dn, ou] of [
        [people, 'people'],
        [groups, 'groups'],
      ] as const)
        await client.add(dn, { objectClass: 'organizationalUnit', ou });
      await client.add(SERVICE.dn, {
        objectClass: ['organizationalRole', 'simpleSecurityObject'],
        cn: 'edge',
        userPassword: SERVICE.password,
      });
    });
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    ldaps,
    ldap,
    ca,
    service: SERVICE,
    people,
    groups,
    get log() {
      return `${running?.stdout ?? ''}${running?.stderr ?? ''}`;
    },
    async person(uid, password, more = {}) {
      const dn = `uid=${uid},${people}`;
      await asRoot((client) =>
        client.add(dn, {
          objectClass: 'inetOrgPerson',
          uid,
          cn: uid,
          sn: uid,
          ...(password !== undefined && { userPassword: password }),
          ...more,
        }),
      );
      return dn;
    },
    async group(cn, members) {
      const [first] = [cn].flat();
      await asRoot((client) =>
        client.add(`cn=${first?.replace(/[,+]/g, '\\$&')},${groups}`, {
          objectClass: 'groupOfNames',
          cn,
          member: [...members],
        }),
      );
    },
    pause: () => running?.signal('SIGSTOP'),
    resume: () => running?.signal('SIGCONT'),
    kill: async () => void (await running?.kill()),
    start,
    [Symbol.asyncDispose]: remove,
  };
}

function configOf(dir: string, certFile: string, anonymous: boolean): string {
  return [
    ...['core', 'cosine', 'inetorgperson'].map((schema) => `include /etc/ldap/schema/${schema}.schema`),
    'modulepath /usr/lib/ldap',
    'moduleload back_mdb',
    'moduleload memberof',
    `pidfile ${dir}/slapd.pid`,
    `TLSCertificateFile ${certFile}`,
    `TLSCertificateKeyFile ${dir}/self-signed.key`,
    'TLSVerifyClient never',
    // Nothing in the clear but StartTLS.
    'security tls=1',
    // As some directories do: a bind with a name and no password is taken, and is nobody's.
    'allow bind_anon_dn',
    'database mdb',
    `suffix ${SUFFIX}`,
    `rootdn ${ROOT.dn}`,
    `rootpw ${ROOT.password}`,
    `directory ${dir}/db`,
    'maxsize 33554432',
    'dbnosync',
    'access to attrs=userPassword by anonymous auth by * none',
    `access to * by dn="${SERVICE.dn}" read by ${anonymous ? '*' : 'users'} ${anonymous ? 'read' : 'none'} by * none`,
    'overlay memberof',
    '',
  ].join('\n');
}
