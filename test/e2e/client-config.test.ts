import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pierhead } from '../cli/pierhead.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd } from '../support/docker.ts';
import { startEdge, type Edge } from '../support/edge.ts';
import { freePort } from '../support/free-port.ts';
import { createImage, pushImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { openPodman } from '../support/podman.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { tempFolder } from '../support/temp.ts';
import { answersWith, digestsOf, fetchesOf, leavesNothing, outerAddress } from './branch.ts';

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
}

/** The edge on an address that no client takes for its own machine, in TLS and plain. */
async function startSite(): Promise<Site> {
  const hub = await startRegistry();
  const company = await startRegistry();
  await pushImage(hub.url, 'library/app', 'latest', app);
  await pushImage(company.url, 'team/tool', 'v1', tool);
  const [https, http] = [await freePort(address), await freePort(address)];
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
  return { edge, hub, company, flags, hostPort: `${address}:${https}`, [Symbol.asyncDispose]: stop };
}

/** A client's root folder with exactly the files that the command writes. */
async function writtenFor(t: Test, site: Site, client: string, ...options: string[]): Promise<string> {
  const root = tempFolder(t, 'client');
  const args = ['client-config', client, '--config', join(site.edge.dir, 'pierhead.yaml'), ...site.flags];
  const { code, stderr } = await pierhead([...args, ...options, '--write', root], root);
  t.same({ code, stderr }, { code: 0, stderr: '' });
  return root;
}

/** Both images went through the edge, each from its registry, and once. */
async function bothCameThrough(t: Test, { edge, hub, company }: Site): Promise<void> {
  await answersWith(edge, 0, [...digestsOf(app), ...digestsOf(tool)]);
  for (const [registry, image] of [
    [hub, app],
    [company, tool],
  ] as const) {
    const counts = await fetchesOf(registry, digestsOf(image));
    t.same(
      counts,
      counts.map(() => 1),
    );
  }
  await leavesNothing(t, edge);
}

for (const [how, ...options] of [['over TLS'], ['plain', '--plain']] as const) {
  void t.test(
    `docker pulls with the files that were written for it, ${how}`,
    { skip: noAddress || missing('docker-registry', 'dockerd') },
    async (t) => {
      await using site = await startSite();
      const root = await writtenFor(t, site, 'docker', ...options);
      const etc = join(root, 'etc/docker');
      const text = await readFile(join(etc, 'daemon.json'), 'utf8');
      const { 'registry-mirrors': mirrors } = JSON.parse(text) as { 'registry-mirrors': string[] };
      await using docker = await startDockerd({ mirrors, etc });
      await docker.pull('app');
      t.equal(await docker.imageId('app'), app.imageId);
      const edge = new URL(mirrors[0] ?? '').host;
      await docker.pull(`${edge}/${COMPANY}/team/tool:v1`);
      t.equal(await docker.imageId(`${edge}/${COMPANY}/team/tool:v1`), tool.imageId);
      await bothCameThrough(t, site);
    },
  );

  void t.test(
    `containerd pulls from two registries with the files that were written for it, ${how}`,
    { skip: noAddress || missing('docker-registry', 'containerd', 'ctr') },
    async (t) => {
      await using site = await startSite();
      const root = await writtenFor(t, site, 'containerd', ...options);
      const hostsDir = join(root, 'etc/containerd/certs.d');
      await using containerd = await startContainerd({ near: [address] });
      for (const [name, image] of [
        [`${HUB}/library/app:latest`, app],
        [`${COMPANY}/team/tool:v1`, tool],
        [`${OTHER}/team/tool:v1`, tool],
      ] as const) {
        await containerd.pull(name, { hostsDir });
        t.equal(await containerd.imageDigest(name), image.digest, name);
      }
      const edge = how === 'plain' ? site.flags[3] : site.hostPort;
      await containerd.pull(`${edge}/${COMPANY}/team/tool:v1`, { hostsDir });
      await bothCameThrough(t, site);
    },
  );

  void t.test(
    `podman and skopeo pull from two registries with the files that were written for them, ${how}`,
    { skip: noAddress || missing('docker-registry', 'podman', 'skopeo') },
    async (t) => {
      await using site = await startSite();
      const root = await writtenFor(t, site, 'podman', ...options);
      const etc = join(root, 'etc/containers');
      await mkdir(etc, { recursive: true });
      await writeFile(join(etc, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
      await using podman = openPodman({ etc, near: [address] });
      await podman.pull(`${HUB}/library/app:latest`);
      t.equal(await podman.imageId(`${HUB}/library/app:latest`), app.imageId);
      await podman.pull(`${COMPANY}/team/tool:v1`);
      t.equal(await podman.imageId(`${COMPANY}/team/tool:v1`), tool.imageId);
      const edge = how === 'plain' ? site.flags[3] : site.hostPort;
      for (const name of [`${HUB}/app`, `${COMPANY}/team/tool:v1`, `${edge}/${COMPANY}/team/tool:v1`]) {
        const { code, stderr } = await podman.skopeo('copy', `docker://${name}`, `dir:${tempFolder(t)}`);
        t.equal(code, 0, `${name}: ${stderr}`);
      }
      await bothCameThrough(t, site);
    },
  );
}

void t.test(
  'without the CA that the command hands out nobody comes through',
  { skip: noAddress || missing('docker-registry', 'podman', 'skopeo') },
  async (t) => {
    await using site = await startSite();
    const root = await writtenFor(t, site, 'podman');
    const etc = join(root, 'etc/containers');
    await writeFile(join(etc, 'certs.d', site.hostPort, 'ca.crt'), '');
    const { code, stderr } = await openPodmanOnce(etc, `docker://${COMPANY}/team/tool:v1`, tempFolder(t));
    t.not(code, 0);
    t.match(stderr, /certificate signed by unknown authority/);
    await leavesNothing(t, site.edge);
  },
);

async function openPodmanOnce(etc: string, from: string, to: string) {
  await using podman = openPodman({ etc, near: [address] });
  return await podman.skopeo('--insecure-policy', 'copy', from, `dir:${to}`);
}
