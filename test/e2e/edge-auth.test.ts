import { copyFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd } from '../support/docker.ts';
import { htpasswd, reloadWith } from '../support/edge-auth.ts';
import { startEdge } from '../support/edge.ts';
import { freePort } from '../support/free-port.ts';
import { createImage, pushImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRegistry } from '../support/registry.ts';
import { skopeoCopy } from '../support/skopeo.ts';
import { tempFolder, TempFolder } from '../support/temp.ts';
import { TestAuthority } from '../tls/clients/authority.ts';
import { leavesNothing, outerAddress } from './branch.ts';

const CANARY = 'canary-7f3a:password';
const address = outerAddress ?? '';
const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
const image = createImage({ layers: [300_000, 4000], platform: { os: 'linux', architecture } });
const noAddress = outerAddress === undefined && 'no address but loopback';
const SKIP = { skip: noAddress || missing('docker-registry', 'dockerd', 'containerd', 'ctr', 'skopeo') };

void t.test('real clients say who they are, over TLS on a name that is not loopback', SKIP, async (t) => {
  await using folder = new TempFolder('edge');
  await using registry = await startRegistry();
  await pushImage(registry.url, 'library/app', 'latest', image);
  await writeFile(folder.join('users'), await htpasswd({ ada: CANARY, bob: 'b' }), { mode: 0o600 });
  const authority = await TestAuthority.create(folder.join('ca'));
  const cert = await authority.issue('/CN=office-host');
  await authority.writeRevocations();
  await writeFile(folder.join('clients.crl'), await authority.crl());
  const port = await freePort(address);
  const host = `${address}:${port}`;
  await using edge = await startEdge({
    dir: folder.path,
    workers: 2,
    readyWithinMs: 60_000,
    flags: ['--https', host],
    config: {
      upstreams: [{ name: 'central', url: registry.url, push: true, default: true }],
      tls: { names: [address] },
      access: { allow: [address, '127.0.0.1'] },
      audit: { to: 'audit.log' },
      log: { level: 'trace' },
      auth: {
        mode: 'edge',
        edge: { htpasswd: 'users', clientCertificate: { ca: authority.caFile, crl: 'clients.crl' } },
      },
    },
  });
  const caFile = folder.join('certs/ca.crt');
  const usersOf = (route: string): Set<unknown> =>
    new Set(
      edge
        .logs()
        .flatMap((line) =>
          line['route'] === route && line['status'] === 200
            ? [`${String(line['user'])} ${String(line['by'])}`]
            : [],
        ),
    );

  await t.test('docker login, pull and push', async (t) => {
    await using docker = await startDockerd({
      mirrors: [`https://${host}`],
      certsFor: [{ hostPort: host, caFile }],
    });
    t.not((await docker.docker('pull', `${host}/library/app`)).code, 0, 'not without a login');
    const passwordFile = join(tempFolder(t), 'password');
    await writeFile(passwordFile, CANARY);
    const login = (user: string, file: string) =>
      docker.docker('login', host, '--username', user, '--password', file);
    t.match((await login('ada', 'wrong')).stderr, /unauthorized/i);
    const done = await login('ada', CANARY);
    t.match(done.stdout, 'Login Succeeded', done.stderr);
    await docker.pull(`${host}/library/app`);
    t.equal(await docker.imageId(`${host}/library/app`), image.imageId);
    t.same(usersOf('token'), new Set(['ada htpasswd']));
    t.same(usersOf('blob'), new Set(['ada token']));
    await docker.docker('tag', `${host}/library/app`, `${host}/team/app:v2`);
    const pushed = await docker.docker('push', `${host}/team/app:v2`);
    t.equal(pushed.code, 0, pushed.stderr);
    t.notMatch(registry.log, /authorization/i);
    await docker.remove(`${host}/team/app:v2`);
    await docker.pull(`${host}/team/app:v2`);
    await docker.docker('logout', host);
    await docker.remove(`${host}/library/app`);
    t.not((await docker.docker('pull', `${host}/library/app`)).code, 0, 'nor after a logout');
  });

  await t.test('docker with nothing but a client certificate, as a mirror', async (t) => {
    const { certFile, keyFile } = cert;
    await using docker = await startDockerd({
      mirrors: [`https://${host}`],
      certsFor: [{ hostPort: host, caFile, certFile, keyFile }],
    });
    await docker.pull('app');
    t.equal(await docker.imageId('app'), image.imageId);
    t.ok(usersOf('blob').has('office-host certificate'));
    await docker.remove('app');
    await authority.revoke(cert);
    await authority.writeRevocations();
    await reloadWith(edge, 'clients.crl', await authority.crl());
    await t.rejects(docker.pull('app'), 'revoked');
  });

  await t.test('skopeo with a password, by Basic and by tokens', async (t) => {
    const certDir = tempFolder(t);
    await copyFile(caFile, join(certDir, 'ca.crt'));
    const copy = async (srcCredentials?: string): Promise<number | null> => {
      const options = { certDir, ...(srcCredentials !== undefined && { srcCredentials }) };
      return (await skopeoCopy(`docker://${host}/library/app:latest`, `dir:${tempFolder(t)}`, options)).code;
    };
    t.equal(await copy(`ada:${CANARY}`), 0);
    t.not(await copy('ada:wrong'), 0);
    t.not(await copy(), 0);
  });

  await t.test('containerd, as a mirror and by name', async (t) => {
    await using containerd = await startContainerd({ near: [address] });
    const hostsDir = tempFolder(t, 'hosts');
    await mkdir(join(hostsDir, host));
    const server = `[host."https://${host}"]\n  capabilities = ["pull", "resolve"]\n  ca = "${caFile}"\n`;
    await writeFile(join(hostsDir, host, 'hosts.toml'), server);
    const args = ['images', 'pull', '--snapshotter', 'native', '--hosts-dir', hostsDir];
    const pull = (user: string) => containerd.ctr(...args, '--user', user, `${host}/library/app:latest`);
    t.not((await pull('ada:wrong')).code, 0);
    const pulled = await pull(`ada:${CANARY}`);
    t.equal(pulled.code, 0, pulled.stderr);
    t.equal(await containerd.imageDigest(`${host}/library/app:latest`), image.digest);
  });

  await t.test('where only Basic is asked for, they do that', async (t) => {
    const file = JSON.parse(await readFile(folder.join('pierhead.yaml'), 'utf8')) as {
      auth: { edge: object };
    };
    const auth = { ...file.auth, edge: { ...file.auth.edge, token: { enabled: false } } };
    await reloadWith(edge, 'pierhead.yaml', JSON.stringify({ ...file, auth }));
    await using docker = await startDockerd({
      mirrors: [`https://${host}`],
      certsFor: [{ hostPort: host, caFile }],
    });
    const done = await docker.docker('login', host, '--username', 'ada', '--password', CANARY);
    t.match(done.stdout, 'Login Succeeded', done.stderr);
    await docker.pull(`${host}/library/app`);
    const certDir = tempFolder(t);
    await copyFile(caFile, join(certDir, 'ca.crt'));
    const options = { certDir, srcCredentials: `ada:${CANARY}` };
    const copied = await skopeoCopy(`docker://${host}/library/app:latest`, `dir:${tempFolder(t)}`, options);
    t.equal(copied.code, 0, copied.stderr);
  });

  await t.test('what they said is nowhere', async (t) => {
    const places: Record<string, string> = {
      log: edge.output,
      metrics: JSON.stringify(await edge.metrics()),
      'what upstreams saw': registry.log,
    };
    for (const pid of (await edge.rssOf()).keys())
      places[`command line of ${pid}`] = await readFile(`/proc/${pid}/cmdline`, 'latin1');
    for (const entry of await readdir(folder.path, { recursive: true, withFileTypes: true }))
      if (entry.isFile() && entry.name !== 'users')
        places[join(entry.parentPath, entry.name)] = await readFile(
          join(entry.parentPath, entry.name),
          'latin1',
        );
    const basic = Buffer.from(`ada:${CANARY}`).toString('base64');
    for (const [place, text] of Object.entries(places))
      t.notOk(
        [CANARY, basic, 'eyJhbGciOiJFUzI1NiI'].some((secret) => text.includes(secret)),
        place,
      );
  });
  await leavesNothing(t, edge);
});
