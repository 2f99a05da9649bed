import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { once } from 'node:events';
import { connect } from 'node:tls';
import t from 'tap';
import { eventually } from '../support/eventually.ts';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import type { Edge } from '../support/edge.ts';
import { runProcess } from '../support/processes.ts';
import { leavesNothing, startBranch } from './branch.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');

void t.test('the first start makes certificates, the second uses them again', async (t) => {
  await using central = await startCentral();
  await using edge = await startBranch(central, { workers: 2 });
  const files = ['ca.crt', 'ca.key', 'server.crt', 'server.key'];
  const contents = (): Promise<string[]> =>
    Promise.all(files.map((file) => readFile(join(edge.dir, 'certs', file), 'utf8')));
  const [ca = '', ...rest] = await contents();
  t.equal((await get(`${edge.https}/v2/`, { ca })).status, 200, 'clients that trust the CA are served');
  await t.rejects(get(`${edge.https}/v2/`), { code: /UNABLE_TO|SELF_SIGNED/ }, 'others do not trust it');
  await eventually(() => edge.output.includes('Clients trust this edge once they have its CA certificate'));

  const first = await fingerprintOf(edge, ca);
  await edge.restart();
  t.equal(await fingerprintOf(edge, ca), first);
  t.same(await contents(), [ca, ...rest]);
  t.notMatch(edge.output, /Clients trust this edge/, 'said once');

  const config = join(edge.dir, 'pierhead.yaml');
  const shown = await runProcess(process.execPath, [MAIN, 'certs', 'show', '--config', config]);
  t.equal(shown.code, 0, shown.stderr);
  t.match(shown.stdout, `SHA-256      ${first}`);
  t.match(shown.stdout, join(edge.dir, 'certs', 'ca.crt'));
  t.notMatch(shown.stdout, /PRIVATE/);
  await leavesNothing(t, edge);
});

async function fingerprintOf({ https }: Edge, ca: string): Promise<string> {
  const { hostname: host, port } = new URL(https);
  const socket = connect({ host, port: Number(port), ca });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}
