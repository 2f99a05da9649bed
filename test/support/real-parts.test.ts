import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startCentral } from './central.ts';
import { get } from './clients.ts';
import { startContainerd } from './containerd.ts';
import { startDockerd } from './docker.ts';
import { createImage, createIndex, pushImage } from './images.ts';
import { missing } from './parts.ts';
import { portAnswers } from './processes.ts';
import { startRegistry } from './registry.ts';
import { selfSigned } from './self-signed.ts';
import { skopeoCopy } from './skopeo.ts';
import { tempFolder } from './temp.ts';

const address = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address;

void t.test(
  'docker-registry takes an image, keeps it over a restart, and leaves nothing behind',
  { skip: missing('docker-registry') },
  async (t) => {
    const registry = await startRegistry();
    t.teardown(() => registry.remove());
    const image = createImage({ layers: [5000, 300_000], format: 'oci' });
    const index = createIndex([image, createImage({ layers: [4000], seed: 2, format: 'oci' })]);
    await pushImage(registry.url, 'library/app', 'latest', index);
    await registry.stop();
    t.notOk(await portAnswers(registry.port));
    await registry.start();
    const manifest = await get(`${registry.url}/v2/library/app/manifests/${image.digest}`, {
      headers: { accept: image.manifest.mediaType },
    });
    t.equal(`sha256:${manifest.sha256}`, image.digest);
    for (const blob of image.blobs) {
      const answer = await get(`${registry.url}/v2/library/app/blobs/${blob.digest}`);
      t.equal(`sha256:${answer.sha256}`, blob.digest);
    }
    await registry.remove();
    t.notOk(existsSync(registry.dir));
    t.notOk(await portAnswers(registry.port));
  },
);

void t.test('a registry that asks for a password', { skip: missing('docker-registry') }, async (t) => {
  const htpasswd = join(tempFolder(t), 'htpasswd');
  // ada:secret
  await writeFile(htpasswd, 'ada:$2y$05$fJB7.Bb7aB7qPTZH1v9mHOsz.6CgMbAFRXRzm0Ih3B1kJtX04mFAm\n');
  await using registry = await startRegistry({ htpasswd });
  const answer = await get(`${registry.url}/v2/`);
  t.equal(answer.status, 401);
  t.match(answer.headers['www-authenticate'], /^Basic realm=/);
});

void t.test(
  'the reference registry as a proxy of another',
  { skip: missing('docker-registry') },
  async (t) => {
    await using origin = await startRegistry();
    const image = createImage({ layers: [5000] });
    await pushImage(origin.url, 'library/app', 'latest', image);
    await using proxy = await startRegistry({ proxyUpstream: origin.url });
    const answer = await get(`${proxy.url}/v2/library/app/blobs/${image.layers[0]?.digest}`);
    t.equal(`sha256:${answer.sha256}`, image.layers[0]?.digest);
  },
);

void t.test(
  'skopeo copies an image byte for byte',
  { skip: missing('docker-registry', 'skopeo') },
  async (t) => {
    await using registry = await startRegistry();
    const image = createImage({ layers: [5000, 300_000] });
    await pushImage(registry.url, 'library/app', 'latest', image);
    const target = join(tempFolder(t), 'image');
    const source = `docker://127.0.0.1:${registry.port}/library/app:latest`;
    const { code, stderr } = await skopeoCopy(source, `dir:${target}`, { srcTlsVerify: false });
    t.equal(code, 0, stderr);
    for (const blob of image.blobs) {
      const copied = await readFile(join(target, blob.digest.slice(7)));
      t.equal(`sha256:${createHash('sha256').update(copied).digest('hex')}`, blob.digest);
    }
    t.same(await readFile(join(target, 'manifest.json')), image.manifest.bytes);
    t.not((await skopeoCopy(source, `dir:${target}-tls`)).code, 0, 'over TLS there is nobody');
  },
);

void t.test(
  'docker pulls through a mirror, and falls through quickly',
  { skip: missing('docker-registry', 'dockerd') },
  async (t) => {
    await using registry = await startRegistry();
    const image = createImage({ layers: [5000, 300_000] });
    const platforms = createIndex([
      createImage({
        layers: [4000],
        seed: 2,
        format: 'oci',
        platform: { os: 'linux', architecture: 'arm64' },
      }),
      createImage({
        layers: [4000],
        seed: 3,
        format: 'oci',
        platform: { os: 'linux', architecture: 'amd64' },
      }),
    ]);
    await pushImage(registry.url, 'library/app', 'latest', image);
    await pushImage(registry.url, 'library/platforms', 'latest', platforms);

    const docker = await startDockerd({ mirrors: [registry.url] });
    t.teardown(() => docker.stop());
    await docker.pull('app');
    t.equal(await docker.imageId('app'), image.imageId);
    if (process.arch === 'x64') {
      await docker.pull('platforms');
      t.equal(await docker.imageId('platforms'), platforms.images[1]?.imageId);
    }
    await docker.remove('app');
    t.equal(await docker.imageId('app'), undefined);
    // Docker Hub is out of reach at once, with a network or without.
    await t.rejects(docker.pull('absent'), { message: /registry-1\.docker\.io.*refused/ });
    t.match(docker.log, /Attempting next endpoint/);

    const containerd = (await readFile(`/proc/${docker.pid}/task/${docker.pid}/children`, 'utf8')).trim();
    await docker.stop();
    t.notOk(existsSync(docker.dir));
    for (const pid of [docker.pid, ...containerd.split(' ').filter(Boolean)])
      t.notOk(existsSync(`/proc/${pid}`));
    t.notMatch(await readFile('/proc/self/mounts', 'utf8'), docker.dir);
  },
);

void t.test(
  'docker checks the certificate of a mirror that is not on loopback',
  { skip: address === undefined ? 'no address but loopback' : missing('dockerd') },
  async (t) => {
    const certificate = await selfSigned(tempFolder(t), `IP:${address ?? ''}`);
    await using central = await startCentral({ host: address ?? '', tls: certificate });
    const image = createImage({ layers: [4000] });
    central.addImage('library/app', 'latest', image);
    const hostPort = `${address}:${central.port}`;

    await using trusting = await startDockerd({
      mirrors: [central.url],
      certsFor: [{ hostPort, caFile: certificate.certFile }],
    });
    await trusting.pull('app');
    t.equal(await trusting.imageId('app'), image.imageId);
    await using wary = await startDockerd({ mirrors: [central.url] });
    await t.rejects(wary.pull('app'));
    t.match(wary.log, /unknown authority/);
  },
);

void t.test(
  'containerd pulls and unpacks through the mirror of a hosts.toml',
  { skip: missing('containerd', 'ctr') },
  async (t) => {
    await using central = await startCentral();
    const image = createImage({ layers: [40_000, 3000], format: 'oci' });
    central.addImage('team/app', 'v1', image);
    const hostsDir = tempFolder(t);
    await mkdir(join(hostsDir, 'registry.test'));
    const mirror = `[host."${central.url}"]\n  capabilities = ["pull", "resolve"]\n`;
    await writeFile(join(hostsDir, 'registry.test', 'hosts.toml'), mirror);
    const containerd = await startContainerd();
    t.teardown(() => containerd.stop());

    await containerd.pull('registry.test/team/app:v1', { hostsDir });
    t.equal(await containerd.imageDigest('registry.test/team/app:v1'), image.digest);
    t.ok(central.log.every(({ query }) => query.get('ns') === 'registry.test'));
    await containerd.remove('registry.test/team/app:v1');
    t.equal(await containerd.imageDigest('registry.test/team/app:v1'), undefined);
    await t.rejects(
      containerd.pull('registry.test/team/other:v1', { hostsDir }),
      /registry\.test\/team\/other/,
    );
    await containerd.stop();
    t.notOk(existsSync(containerd.dir));
    t.notOk(existsSync(`/proc/${containerd.pid}`));
  },
);
