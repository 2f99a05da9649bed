import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { controlOf } from '../../src/admin/control-client.ts';
import { startCentral } from '../support/central.ts';
import { get } from '../support/clients.ts';
import { startEdge, type Edge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { randomBlob } from '../support/images.ts';
import { runProcess } from '../support/processes.ts';

const MAIN = join(import.meta.dirname, '../../src/main.ts');
type Line = Readonly<Record<string, unknown>>;

async function linesIn(file: string): Promise<Line[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}

async function verify(...files: string[]): Promise<{ code: number | null; stdout: string }> {
  return await runProcess(process.execPath, [MAIN, 'audit', 'verify', ...files]);
}

for (const workers of [1, 2]) {
  void t.test(`accesses are on record, over kill -9 and rotation, workers: ${workers}`, async (t) => {
    const central = await startCentral();
    t.teardown(() => central.stop());
    const blob = central.addBlob('team/app', randomBlob(5000, 'audit'));
    const edge: Edge = await startEdge({
      workers,
      config: {
        upstreams: [{ name: 'central', url: central.url }],
        audit: { to: 'audit.log' },
        access: { allow: ['127.0.0.0/8'], deny: ['127.0.0.9'] },
      },
    });
    t.teardown(() => edge.remove());
    const file = join(edge.dir, 'audit.log');
    const recorded = async (count: number): Promise<Line[]> => {
      await eventually(async () => (await linesIn(file)).length >= count);
      return await linesIn(file);
    };

    await get(`${edge.http}/v2/`);
    const pulled = await get(`${edge.http}/v2/team/app/blobs/${blob.digest}`);
    await get(`${edge.http}/v2/team/app/manifests/none`);
    await get(`${edge.http}/v2/team/app/manifests/1.0`, { method: 'PUT' });
    await get(`${edge.http}/v2/Team%2e%2e/manifests/1.0`);
    await t.rejects(get(`${edge.http}/v2/`, { localAddress: '127.0.0.9' }));
    const lines = (await recorded(6)).filter(({ action }) => action !== 'audit.start');
    t.match(
      lines.find(({ status }) => status === 200),
      {
        action: 'pull',
        user: 'anonymous',
        ip: '127.0.0.1',
        repository: 'central/team/app',
        digest: blob.digest,
        decision: 'allow',
        bytes: 5000,
        requestId: pulled.headers['x-request-id'],
      },
    );
    // Each worker hands over its own, so that only those of one worker are in order.
    const others = lines.filter(({ status }) => status !== 200);
    t.same(
      new Set(
        others.map(({ action, decision, status, reason }) => [action, decision, status, reason].join(' ')),
      ),
      new Set([
        'pull allow 404 network; MANIFEST_UNKNOWN',
        'push deny 405 UNSUPPORTED',
        'none deny 400 NAME_INVALID',
        'connect deny 0 access.allow and access.deny',
      ]),
    );
    t.same(lines.find(({ status }) => status === 404)?.['tags'], ['none']);

    const control = controlOf(join(edge.dir, 'data/v1/control.sock'));
    await control.purge({ kind: 'all' });
    await eventually(async () =>
      (await linesIn(file)).some(({ action, user }) => action === 'cache.purge' && user === 'operator'),
    );

    await edge.kill();
    await edge.restart();
    await get(`${edge.http}/v2/team/app/blobs/${blob.digest}`);
    await recorded(9);
    await rename(file, `${file}.1`);
    edge.signal('SIGHUP');
    await eventually(
      async () => (await linesIn(file).catch(() => [])).length === 0 && edge.output.includes('reloaded'),
    );
    await get(`${edge.http}/v2/team/app/blobs/${blob.digest}`);
    await recorded(1);
    await edge.stop();
    const { code, stdout } = await verify(`${file}.1`, file);
    t.equal(code, 0, stdout);
    t.match(stdout, /number 1 to \d+: unbroken/);
    t.equal((await linesIn(file)).at(-1)?.['action'], 'audit.stop');
    const swapped = await verify(file, `${file}.1`);
    t.equal(swapped.code, 1, swapped.stdout);
  });
}

void t.test('a record that cannot be written costs no pull, and the metrics say so', async (t) => {
  const central = await startCentral();
  t.teardown(() => central.stop());
  const blob = central.addBlob('team/app', randomBlob(5000, 'audit'));
  const edge = await startEdge({
    workers: 2,
    config: { upstreams: [{ name: 'central', url: central.url }], audit: { to: '/dev/full' } },
  });
  t.teardown(() => edge.remove());
  t.equal((await get(`${edge.http}/v2/team/app/blobs/${blob.digest}`)).status, 200);
  await eventually(async () => (await edge.metrics()).value('pierhead_audit_failures_total') > 0);
  t.match(edge.output, 'the audit log cannot be written');
  await edge.stop();
});

void t.test('a place where no record can be kept is told at the start', async (t) => {
  await t.rejects(
    startEdge({ config: { audit: { to: '/proc/no/audit.log' } } }),
    /audit\.to .*\/proc\/no\/audit\.log/,
  );
});
