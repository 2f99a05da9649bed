import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { startHaproxy } from '../support/haproxy.ts';
import { createImage } from '../support/images.ts';
import { missing } from '../support/parts.ts';
import { skopeoCopy } from '../support/skopeo.ts';
import { tempFolder } from '../support/temp.ts';
import { reconfigure } from '../server/fixture.ts';
import { leavesNothing, startBranch } from './branch.ts';

const PROXY = '127.0.0.7';
const CLIENT = '127.0.0.99';
const image = createImage({ layers: [1_200_000, 5000], format: 'oci' });
const access = { allow: ['127.0.0.0/8'], deny: ['127.0.0.66'], trustedProxies: [PROXY] };

void t.test(
  'behind a real HAProxy the record names the client, whichever way it is announced',
  { skip: missing('haproxy', 'skopeo') },
  async (t) => {
    await using central = await startCentral();
    central.addImage('library/app', 'latest', image);
    const config = { access: { ...access, proxyProtocol: true }, audit: { to: 'audit.log' } };
    await using edge = await startBranch(central, { workers: 2, config });
    await using haproxy = await startHaproxy(edge, PROXY);
    const recorded = async (): Promise<Record<string, unknown>[]> =>
      (await readFile(join(edge.dir, 'audit.log'), 'utf8'))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>);

    const certDir = tempFolder(t);
    await copyFile(join(edge.dir, 'certs/ca.crt'), join(certDir, 'ca.crt'));
    const source = (url: string): string => `docker://${new URL(url).host}/library/app:latest`;
    for (const [url, options] of [
      [haproxy.tls, { certDir }],
      [haproxy.plain, { srcTlsVerify: false }],
    ] as const) {
      const { code, stderr } = await skopeoCopy(source(url), `dir:${tempFolder(t)}`, options);
      t.equal(code, 0, stderr);
    }
    const pulls = await eventually(async () => {
      const lines = (await recorded()).filter(({ action }) => action === 'pull');
      return lines.length >= 2 * (image.blobs.length + 1) ? lines : undefined;
    });
    t.same(new Set(pulls.map(({ ip }) => ip)), new Set(['127.0.0.1']), 'where skopeo runs');

    const ca = await readFile(join(certDir, 'ca.crt'), 'utf8');
    const status = async (url: string, localAddress: string, headers = {}): Promise<number> =>
      await get(`${url}/v2/library/app/tags/list`, { localAddress, headers, ca }).then(
        ({ status }) => status,
        () => 0,
      );
    const spoof = { 'X-Forwarded-For': '127.0.0.1' };
    for (const url of [haproxy.tls, haproxy.plain]) {
      t.equal(await status(url, CLIENT, spoof), 200);
      t.equal(await status(url, '127.0.0.66', spoof), 0, 'denied before TLS');
    }
    const lists = async (count: number): Promise<unknown[]> =>
      await eventually(async () => {
        const lines = (await recorded()).filter(({ action }) => action === 'list');
        return lines.length >= count ? lines.map(({ ip }) => ip) : undefined;
      });
    t.same(await lists(2), [CLIENT, CLIENT]);

    await reconfigure(edge, { access });
    t.equal(await status(haproxy.http, CLIENT), 200);
    t.equal(await status(haproxy.http, CLIENT, spoof), 200);
    t.equal(await status(haproxy.http, '127.0.0.66', spoof), 403);
    t.same((await lists(4)).slice(2), [CLIENT, CLIENT], 'what the client says of itself is not believed');
    await leavesNothing(t, edge);
  },
);
