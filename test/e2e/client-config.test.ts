import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pierhead } from '../cli/pierhead.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd, type Docker } from '../support/docker.ts';
import { startEdge, type Edge } from '../support/edge.ts';
import { freePorts } from '../support/free-port.ts';
import { createImage, pushImage } from '../support/images.ts';
import { missing, part } from '../support/parts.ts';
import { openPodman } from '../support/podman.ts';
import { runProcess } from '../support/processes.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { tempFolder } from '../support/temp.ts';
import {
  answersOf,
  answersWith,
  digestsOf,
  fetchesOf,
  leavesNothing,
  outerAddress,
  startBranch,
} from './branch.ts';

// Two registries behind one edge. Nobody answers to their names here: what a client has, it has through the edge.
const HUB = 'docker.io';
const OTHER = 'registry.test:5000';
const COMPANY = 'company.test';

const app = createImage({ layers: [300_000, 4000] });
const tool = createImage({ layers: [200_000, 3000], seed: 'tool', format: 'oci' });
const address = outerAddress ?? '127.0.0.1';
const noAddress = outerAddress === undefined && 'no address but loopback';

interface Site extends AsyncDisposable {
  readonly edge: Edge;
  readonly hub: Registry;
  readonly company: Registry;
  /** The options by which the command learns of the same listeners. */
  readonly flags: readonly string[];
  readonly hostPort: string;
  readonly plainHostPort: string;
}

/** The edge on an address that no client takes for its own machine, in TLS and plain. */
async function startSite(): Promise<Site> {
  const hub = await startRegistry();
  const company = await startRegistry();
  await pushImage(hub.url, 'library/app', 'latest', app);
  await pushImage(company.url, 'team/tool', 'v1', tool);
  const [https = 0, http = 0] = await freePorts(2, address);
  const flags = ['--https', `${address}:${https}`, '--http', `${address}:${http}`];
  const edge = await startEdge({
    workers: 1,
    flags,
    config: {
      tls: { names: ['localhost', address] },
      access: { allow: [address, '127.0.0.0/8'] },
      upstreams: [
        { name: HUB, url: hub.url, default: true },
        { name: COMPANY, url: company.url },
        { name: OTHER, url: company.url },
      ],
    },
  });
  async function stop(): Promise<void> {
    await edge.remove();
    await hub.remove();
    await company.remove();
  }
  const [hostPort, plainHostPort] = [`${address}:${https}`, `${address}:${http}`];
  return { edge, hub, company, flags, hostPort, plainHostPort, [Symbol.asyncDispose]: stop };
}

/** A client's root folder with exactly the files that the command writes. */
async function writtenFor(t: Test, site: Site, client: string, ...options: string[]): Promise<string> {
  const root = tempFolder(t, 'client');
  const args = ['client-config', client, '--config', join(site.edge.dir, 'pierhead.yaml'), ...site.flags];
  const { code, stderr } = await pierhead([...args, ...options, '--write', root], root);
  t.same({ code, stderr }, { code: 0, stderr: '' });
  return root;
}

/** Every blob was asked of the edge since then: nothing came from elsewhere. */
async function bothCameThrough(t: Test, { edge }: Site, from: number): Promise<void> {
  const answers = await answersWith(edge, from, [...digestsOf(app), ...digestsOf(tool)]);
  t.ok(answers.every(({ status }) => status < 400));
}

async function builds(t: Test, docker: Docker): Promise<void> {
  const context = tempFolder(t);
  await writeFile(join(context, 'Dockerfile'), 'FROM app\nLABEL built=here\n');
  const { code, stderr } = await docker.docker('build', '--no-cache', context);
  t.equal(code, 0, stderr);
}

for (const [how, ...options] of [['over TLS'], ['plain', '--plain']] as const) {
  void t.test(
    `clients pull from two registries with the files that were written for them, ${how}`,
    { skip: noAddress || missing('docker-registry') },
    async (t) => {
      await using site = await startSite();
      const { edge, hub, company } = site;
      const hostPort = how === 'plain' ? site.plainHostPort : site.hostPort;

      await t.test('docker', { skip: missing('dockerd') }, async (t) => {
        const etc = join(await writtenFor(t, site, 'docker', ...options), 'etc/docker');
        const text = await readFile(join(etc, 'daemon.json'), 'utf8');
        const { 'registry-mirrors': mirrors } = JSON.parse(text) as { 'registry-mirrors': string[] };
        await using docker = await startDockerd({ mirrors, etc });
        const from = answersOf(edge).length;
        await docker.pull('app');
        t.equal(await docker.imageId('app'), app.imageId);
        await docker.pull(`${hostPort}/${COMPANY}/team/tool:v1`);
        t.equal(await docker.imageId(`${hostPort}/${COMPANY}/team/tool:v1`), tool.imageId);
        await bothCameThrough(t, site, from);

        // BuildKit, as it stands in dockerd: another resolver, which reads the same files.
        await docker.remove('app');
        const before = answersOf(edge).length;
        await builds(t, docker);
        await answersWith(edge, before, digestsOf(app));
      });

      await t.test('containerd', { skip: missing('containerd', 'ctr') }, async (t) => {
        const root = await writtenFor(t, site, 'containerd', ...options);
        const hostsDir = join(root, 'etc/containerd/certs.d');
        await using containerd = await startContainerd({ near: [address] });
        const from = answersOf(edge).length;
        for (const [name, image] of [
          [`${HUB}/library/app:latest`, app],
          [`${COMPANY}/team/tool:v1`, tool],
          [`${OTHER}/team/tool:v1`, tool],
          [`${hostPort}/${COMPANY}/team/tool:v1`, tool],
        ] as const) {
          await containerd.pull(name, { hostsDir });
          t.equal(await containerd.imageDigest(name), image.digest, name);
        }
        await bothCameThrough(t, site, from);
      });

      await t.test('podman and skopeo', { skip: missing('podman', 'skopeo') }, async (t) => {
        const etc = join(await writtenFor(t, site, 'podman', ...options), 'etc/containers');
        // What the package has there, and what no client can do without.
        await writeFile(join(etc, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
        await using podman = openPodman({ etc, near: [address] });
        const from = answersOf(edge).length;
        for (const [name, image] of [
          [`${HUB}/library/app:latest`, app],
          [`${COMPANY}/team/tool:v1`, tool],
        ] as const) {
          await podman.pull(name);
          t.equal(await podman.imageId(name), image.imageId, name);
        }
        await bothCameThrough(t, site, from);
        for (const name of [`${HUB}/app`, `${hostPort}/${COMPANY}/team/tool:v1`]) {
          const { code, stderr } = await podman.skopeo('copy', `docker://${name}`, `dir:${tempFolder(t)}`);
          t.equal(code, 0, `${name}: ${stderr}`);
        }
        if (how === 'plain') return;
        await writeFile(join(etc, 'certs.d', hostPort, 'ca.crt'), '');
        const target = `dir:${tempFolder(t)}`;
        const { code, stderr } = await podman.skopeo('copy', `docker://${COMPANY}/team/tool:v1`, target);
        t.not(code, 0, 'without the CA nobody comes through');
        t.match(stderr, /certificate signed by unknown authority/);
      });

      // No package here has buildkitd. containerd reads TOML by the same library.
      await t.test('the file for buildkitd is TOML', { skip: missing('containerd') }, async (t) => {
        const file = join(await writtenFor(t, site, 'buildkit', ...options), 'etc/buildkit/buildkitd.toml');
        const args = ['--config', file, 'config', 'dump'];
        t.match(await runProcess(part('containerd'), args), { code: 0, stdout: /^version = /m });
      });

      for (const [registry, image] of [
        [hub, app],
        [company, tool],
      ] as const) {
        const once = digestsOf(image).map(() => 1);
        t.same(await fetchesOf(registry, digestsOf(image)), once, 'each blob was fetched once');
      }
      await leavesNothing(t, edge);
    },
  );
}

void t.test(
  'docker on the machine of the edge pulls and builds over TLS on loopback',
  { skip: missing('docker-registry', 'dockerd') },
  async (t) => {
    await using hub = await startRegistry();
    await pushImage(hub.url, 'library/app', 'latest', app);
    await using edge = await startBranch(hub, {
      workers: 1,
      config: { upstreams: [{ name: HUB, url: hub.url, default: true }] },
    });
    const root = tempFolder(t, 'client');
    const options = ['--https', new URL(edge.https).host, '--config', join(edge.dir, 'pierhead.yaml')];
    const { code, stderr } = await pierhead(['client-config', 'docker', ...options, '--write', root], root);
    t.equal(code, 0);
    t.match(stderr, 'only clients on this machine reach it');
    await using docker = await startDockerd({ mirrors: [edge.https], etc: join(root, 'etc/docker') });
    await docker.pull('app');
    await docker.remove('app');
    await builds(t, docker);
    await answersWith(edge, 0, digestsOf(app));
    await leavesNothing(t, edge);
  },
);
