import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { startAdmin } from '../admin/fixture.ts';
import { get } from '../support/clients.ts';
import { startEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from '../support/free-port.ts';
import { part } from '../support/parts.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { TempFolder } from '../support/temp.ts';

const DEPLOY = join(import.meta.dirname, '../../deploy');
const RULES = join(DEPLOY, 'prometheus/pierhead.rules.yml');

async function promtool(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runProcess(part('promtool'), args);
  return code === 0 ? '' : stdout + stderr;
}

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

async function dashboardExpressions(): Promise<string[]> {
  const dashboard = JSON.parse(await readFile(join(DEPLOY, 'grafana/pierhead.json'), 'utf8')) as {
    panels: Panel[];
  };
  return dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
}

/** Names of series, without what a histogram adds to them. */
function metricsIn(text: string): Set<string> {
  const names = text.match(/\bpierhead_\w+/g) ?? [];
  return new Set(names.map((name) => name.replace(/_bucket$/, '')));
}

void t.test('the alert rules are sound, and each fires on its trouble and on nothing else', async (t) => {
  t.equal(await promtool('check', 'config', join(DEPLOY, 'prometheus/prometheus.yml')), '');
  t.equal(await promtool('test', 'rules', join(import.meta.dirname, 'pierhead.rules.yml')), '');
});

void t.test('each expression of the dashboard is one that Prometheus takes', async (t) => {
  const folder = new TempFolder('dashboard');
  t.teardown(() => folder.remove());
  const expressions = await dashboardExpressions();
  const rules = expressions.map((expr, n) => ({
    record: `panel:${n}`,
    expr: expr.replaceAll('$instance', '.*'),
  }));
  const file = folder.join('panels.yml');
  await writeFile(file, stringify({ groups: [{ name: 'panels', rules }] }));
  t.equal(await promtool('check', 'rules', file), '');
  t.ok(expressions.length > 20);
});

void t.test('rules and dashboard speak of metrics that the edge has', async (t) => {
  const edge = await startEdge({
    workers: 2,
    // With all that has metrics of its own; nobody need answer there.
    config: {
      upstreams: [{ name: 'central', url: 'http://127.0.0.1:9' }],
      redis: { url: 'redis://127.0.0.1:9', secret: 'x'.repeat(32) },
    },
  });
  t.teardown(() => edge.remove());
  const { body } = await get(`${edge.admin}/metrics`, { keepBody: true });
  const known = new Set([...body.toString().matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name));
  const used = metricsIn((await readFile(RULES, 'utf8')) + (await dashboardExpressions()).join('\n'));
  t.ok(used.size > 20);
  t.same(
    [...used].filter((name) => !known.has(name)),
    [],
  );
  await edge.stop();
});

void t.test('a Prometheus on another host scrapes an admin listener that takes operators only', async (t) => {
  const admin = await startAdmin(t);
  const folder = new TempFolder('remote-edges');
  t.teardown(() => folder.remove());
  await cp(join(DEPLOY, 'prometheus'), folder.path, { recursive: true });
  await mkdir(folder.join('secrets'));
  await writeFile(folder.join('secrets/admin_password'), 'correct horse', { mode: 0o600 });
  await writeFile(folder.join('pierhead-ca.crt'), admin.site.ca);
  const file = folder.join('remote-edges.yml');
  const written = await readFile(file, 'utf8');
  const { host } = new URL(admin.url);
  const here = written
    .replace(/'edge-1.*/, `'${host}']`)
    .replace('username: prometheus', 'username: ada')
    .replaceAll('_interval: 15s', '_interval: 1s');
  await writeFile(file, here);
  t.equal(await promtool('check', 'config', file), '');
  const [port = 0] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const args = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${folder.join('tsdb')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  const prometheus = await startProcess(part('prometheus'), args, {
    cwd: folder.path,
    ready: async () => (await get(`${url}/-/ready`)).status === 200,
  });
  t.teardown(() => prometheus.stop());
  const up = async (): Promise<string> =>
    (await get(`${url}/api/v1/query?query=up`, { keepBody: true })).body.toString();
  const answer = await eventually(async () => {
    const body = await up();
    return body.includes('"job":"pierhead"') ? body : undefined;
  });
  t.match(JSON.parse(answer), { data: { result: [{ value: [Number, '1'] }] } });
  t.same(admin.acts, [], 'and a scrape is no act');
});
