import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startCentral } from '../support/central.ts';
import { startContainerd } from '../support/containerd.ts';
import { CredentialProgram } from '../support/credential-program.ts';
import { startEdge } from '../support/edge.ts';
import { createImage, createIndex, pushImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { startRegistry } from '../support/registry.ts';
import { tempFolder } from '../support/temp.ts';
import { digestsOf, fetchesOf, leavesNothing } from './branch.ts';

const CANARY = 'canary-of-ada';

void t.test(
  'containerd pulls from three registries through one edge, each by its name',
  { skip: missing('containerd', 'ctr', 'docker-registry') },
  async (t) => {
    const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' };
    const [left, right, own] = ['left', 'right', 'own'].map((seed) =>
      createImage({ layers: [400_000, 3000], seed, format: 'oci', platform }),
    );
    if (left === undefined || right === undefined || own === undefined) throw new Error('three images');
    const users = { ada: CANARY };
    await using tokens = await startCentral({ auth: { mode: 'token', users } });
    await using basic = await startCentral({ auth: { mode: 'basic', users } });
    await using registry = await startRegistry();
    tokens.addImage('team/app', 'v1', left);
    basic.addImage('team/app', 'v1', createIndex([right]));
    await pushImage(registry.url, 'team/app', 'v1', own);
    const helper = await CredentialProgram.create(t, '');
    await helper.gives({ Username: 'ada', Secret: CANARY });
    const exec = await CredentialProgram.create(t, `echo ${CANARY}`, 'print-token');
    const upstreams = [
      { name: 'left.test', url: tokens.url, credentials: { helper: 'test' } },
      { name: 'right.test:5000', url: basic.url, credentials: { exec: [exec.file], username: 'ada' } },
      { name: 'own.test', url: registry.url, default: true },
    ];
    const env = { PATH: `${helper.folder}:${process.env['PATH']}` };
    await using edge = await startEdge({ config: { upstreams }, env });

    const hostsDir = tempFolder(t, 'hosts');
    for (const { name } of [...upstreams, { name: 'unknown.test' }]) {
      await mkdir(join(hostsDir, name));
      const mirror = `[host."${edge.http}"]\n  capabilities = ["pull", "resolve"]\n`;
      await writeFile(join(hostsDir, name, 'hosts.toml'), mirror);
    }
    await using containerd = await startContainerd();
    for (const { name } of upstreams) await containerd.pull(`${name}/team/app:v1`, { hostsDir });
    t.equal(await containerd.imageDigest('left.test/team/app:v1'), left.digest);
    t.equal(await containerd.imageDigest('right.test:5000/team/app:v1'), createIndex([right]).digest);
    t.equal(await containerd.imageDigest('own.test/team/app:v1'), own.digest);
    t.same(
      await fetchesOf(registry, digestsOf(own)),
      own.blobs.map(() => 1),
    );

    for (const central of [tokens, basic]) {
      t.equal(central.log.filter(({ query }) => query.has('ns')).length, 0, 'ns stays at the edge');
      await central.stop();
    }
    await registry.stop();
    for (const { name } of upstreams) {
      await containerd.remove(`${name}/team/app:v1`);
      await containerd.pull(`${name}/team/app:v1`, { hostsDir });
    }
    await t.rejects(containerd.pull('unknown.test/team/app:v1', { hostsDir }), /unknown\.test/);
    const unknown = edge.logs().filter(({ status }) => status === 404);
    t.not(unknown.length, 0, 'refused by the edge');
    t.notMatch(edge.output, CANARY);
    await leavesNothing(t, edge);
  },
);
