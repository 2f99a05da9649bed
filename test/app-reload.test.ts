import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { deriveTokenKey } from '../src/access/edge/token-key.ts';
import { Reloader } from '../src/app-reload.ts';
import { loadCertificates } from '../src/app-certificates.ts';
import type { Config } from '../src/config/config.ts';
import { loadConfig } from '../src/config/load.ts';
import { createLog } from '../src/observe/log.ts';
import { KeeperMetrics } from '../src/observe/metrics.ts';
import { makeAuthority } from '../src/tls/certificate-authority.ts';
import type { ServedCertificates } from '../src/tls/serving/served-certificates.ts';
import { FakeClock } from './support/fake-clock.ts';
import { eventually } from './support/eventually.ts';
import { makeSite } from './tls/serving/fixture.ts';

const DAY = 86_400_000;
const NOTHING = {
  fillsRunning: zero,
  storedBytes: zero,
  storedObjects: zero,
  maxBytes: zero,
  workers: zero,
  filesystem: async () => ({ totalBytes: 1, availableBytes: 1 }),
};

interface Applied {
  readonly config: Config;
  readonly served: ServedCertificates | undefined;
}

async function reloading(t: Test, settings: { yaml?: string } = {}) {
  const clock = new FakeClock();
  const site = await makeSite(t, ['localhost'], clock);
  const file = join(site.folder, 'pierhead.yaml');
  const read = (yaml: string): Config => {
    const tls = `cert: server.crt, key: server.key`;
    writeFileSync(file, yaml.replace('TLS', tls), { mode: 0o600 });
    return loadConfig({ file, flags: {}, env: {}, cwd: site.folder, cpus: 2 });
  };
  const config = read(settings.yaml ?? 'tls: { TLS }');
  const log = createLog('silent', 'test');
  const served = (await loadCertificates(config, clock, log))?.served;
  const applied: Applied[] = [];
  const metrics = new KeeperMetrics('keeper', NOTHING);
  let next: () => Config = () => config;
  const reloader = new Reloader({
    config,
    served,
    reread: () => next(),
    apply: async (config, served) => void applied.push({ config, served }),
    metrics,
    log,
    clock,
    tokenKey: deriveTokenKey('not-a-secret'),
  });
  t.teardown(() => reloader.stop());
  const value = async (name: string, label?: string): Promise<number | undefined> => {
    const metric = (await metrics.snapshot()).find((each) => each.name === `pierhead_${name}`);
    return metric?.values.find(({ labels }) => label === undefined || Object.values(labels).includes(label))
      ?.value;
  };
  const write = (yaml: string): void => {
    next = () => read(yaml);
  };
  return { clock, site, reloader, applied, served, value, write };
}

void t.test('our certificate is renewed thirty days before its end, and served then', async (t) => {
  const { clock, reloader, applied, served, value } = await reloading(t);
  const end = served?.main.certificate.validToDate.getTime() ?? 0;
  t.equal(end, clock.now() + 90 * DAY);
  t.equal(await value('certificate_expiry_timestamp_seconds', 'server'), end / 1000);
  t.equal(
    await value('certificate_expiry_timestamp_seconds', 'ca'),
    Math.floor((clock.now() + 3650 * DAY) / 1000),
  );
  await clock.advance(59 * DAY);
  await reloader.look();
  t.equal(applied.length, 0, 'two thirds of its life are not over');
  await clock.advance(1 * DAY + 1);
  await reloader.look();
  const [renewed] = applied;
  t.equal(
    renewed?.served?.main.certificate.validToDate.getTime(),
    Math.floor((clock.now() + 90 * DAY) / 1000) * 1000,
  );
  t.not(renewed?.served?.main.keyPem, served?.main.keyPem, 'with a key of its own');
  t.equal(
    renewed?.served?.authority?.certificate.fingerprint256,
    served?.authority?.certificate.fingerprint256,
  );
  t.equal(await value('reloads_total', 'ok'), 1);
  await reloader.look();
  t.equal(applied.length, 1, 'once');
});

void t.test('where that is turned off it is left alone, and so is what is not ours', async (t) => {
  const off = await reloading(t, { yaml: 'tls: { TLS, autoRotate: false }' });
  await off.clock.advance(80 * DAY);
  await off.reloader.look();
  t.equal(off.applied.length, 0);

  const foreign = await reloading(t);
  const { cert, key } = makeAuthority(foreign.clock);
  foreign.site.put('server', { cert, key });
  await foreign.reloader.reloadCertificates();
  await foreign.clock.advance(3649 * DAY);
  await foreign.reloader.look();
  t.equal(foreign.applied.length, 1, 'it was taken over, and never replaced');
  t.equal(
    await foreign.value('certificate_expiry_timestamp_seconds', 'ca'),
    undefined,
    'nor is the CA beside it its own',
  );
});

void t.test('files that others change are served within a minute; half of a change never is', async (t) => {
  const { clock, site, reloader, applied, value } = await reloading(t);
  const other = site.pair('other.example');
  reloader.start();
  await eventually(() => clock.sleeping === 1);
  writeFileSync(site.files.cert, other.cert);
  await clock.advance(60_000);
  await eventually(async () => (await value('reloads_total', 'failed')) === 1);
  await eventually(() => clock.sleeping === 1);
  await clock.advance(60_000);
  await eventually(() => clock.sleeping === 1);
  t.equal(await value('reloads_total', 'failed'), 1, 'told once, not every minute');
  t.equal(applied.length, 0);
  writeFileSync(site.files.key, other.key);
  await clock.advance(60_000);
  await eventually(() => applied.length === 1);
  t.equal(applied[0]?.served?.main.keyPem, other.key);
  await reloader.stop();
  await eventually(() => clock.sleeping === 0, { what: 'nobody looks after a stopped edge' });
  await t.rejects(reloader.reload(), { message: 'the edge is stopping' });
});

void t.test('what listens now decides what may be told to it', async (t) => {
  const { reloader, applied, write } = await reloading(t, {
    yaml: 'tls: { TLS }\nlisten: { http: 0.0.0.0:5000 }',
  });
  // The file alone is right: but a restart is what it takes to close that port.
  write('tls: { TLS }\nlisten: { http: null }\nauth: { mode: upstream }');
  await t.rejects(reloader.reload(), /listen\.http: is 0\.0\.0\.0, where passwords .* in the clear/);
  t.equal(applied.length, 0);
});

void t.test('a configuration is in force as a whole, or not at all', async (t) => {
  const { site, reloader, applied, value, write } = await reloading(t);
  write(
    'tls: { TLS, minVersion: TLSv1.3 }\naccess: { deny: [10.0.0.0/8] }\nworkers: 7\nlog: { level: debug }',
  );
  t.same(await reloader.reload(), {
    changed: ['tls.minVersion', 'access.deny', 'log.level'],
    needRestart: ['workers'],
    newCertificates: false,
  });
  t.match(applied[0]?.config, {
    workers: 2,
    tls: { minVersion: 'TLSv1.3' },
    access: { deny: ['10.0.0.0/8'] },
  });
  for (const yaml of [
    'access: { deny: [nonsense] }',
    'tls: { TLS, certificates: [{ cert: no.crt, key: no.key }] }\naccess: { deny: [] }',
  ]) {
    write(yaml);
    await t.rejects(reloader.reload());
    t.equal(applied.length, 1);
    t.equal(await value('config_last_reload_successful'), 0);
  }
  rmSync(site.files.key);
  await t.rejects(reloader.reloadCertificates(), { name: 'CertificateError' });
  t.equal(applied.length, 1);
  t.equal(await value('reloads_total', 'failed'), 3);
  writeFileSync(site.files.key, applied[0]?.served?.main.keyPem ?? '');
  await reloader.reloadCertificates();
  t.equal(await value('config_last_reload_successful'), 0, 'the file is as wrong as before');
  t.match(applied[1]?.config, { tls: { minVersion: 'TLSv1.3' } }, 'and what ran goes on running');
  write('tls: { TLS }');
  t.match(await reloader.reload(), {
    changed: ['tls.minVersion', 'access.deny', 'log.level'],
    needRestart: [],
  });
  t.equal(await value('config_last_reload_successful'), 1);
});

void t.test('asked many times at once, it reads once or twice', async (t) => {
  const { reloader, applied } = await reloading(t);
  await Promise.all(Array.from({ length: 50 }, () => reloader.reload()));
  t.ok(applied.length <= 2, `${applied.length} reloads`);
});

function zero(): number {
  return 0;
}
