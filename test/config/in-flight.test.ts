import t from 'tap';
import { changedKeys, inFlight } from '../../src/config/in-flight.ts';
import { loadConfig } from '../../src/config/load.ts';
import { ms } from '../../src/lib/brand.ts';

const SOURCES = { env: {}, cwd: '/edge', cpus: 2 };
const running = loadConfig({ ...SOURCES, flags: {} });

void t.test('equal configurations have no key that changed', async (t) => {
  t.same(changedKeys(running, loadConfig({ ...SOURCES, flags: {} })), []);
});

void t.test('what cannot change in flight keeps its value and is named', async (t) => {
  const flags = { upstream: 'https://a', data: 'b', http: '1', admin: 'off', workers: '9', logLevel: 'warn' };
  const read = loadConfig({ ...SOURCES, flags });
  const next = inFlight(running, read);
  t.same(changedKeys(running, next), ['log.level']);
  t.same(changedKeys(next, read), [
    'listen.http',
    'listen.admin',
    'workers',
    'storage.path',
    'upstreams.docker.io.urls',
    'upstreams.docker.io.authHosts',
  ]);
  t.same({ ...next, log: running.log }, running);
});

void t.test('a key that nobody has told it of waits for a restart, with its section', async (t) => {
  const audit = { to: '/canary/audit.log' };
  const read = { ...running, audit, more: { secret: 'canary' }, storage: { ...running.storage, more: [1] } };
  const next = inFlight(running, read);
  t.strictSame(next, running);
  const keys = changedKeys(next, read);
  t.same(keys.sort(), ['audit.to', 'more', 'storage.more']);
  t.notMatch(JSON.stringify(keys), /canary/, 'names only: a value may be a secret');
});

void t.test(
  'freshness changes in flight, upstream by upstream; one that comes or goes does not',
  async (t) => {
    const [hub] = running.upstreams;
    if (hub === undefined) throw new Error('no upstream by default');
    const fresher = { ...hub, freshness: { ...hub.freshness, tag: ms(5) } };
    const next = inFlight(running, { ...running, upstreams: [fresher] });
    t.same(changedKeys(running, next), ['upstreams.docker.io.freshness']);
    const more = { ...running, upstreams: [fresher, { ...hub, name: 'ghcr.io' }] };
    t.same(inFlight(running, more).upstreams, [fresher]);
    t.same(changedKeys(inFlight(running, more), more), ['upstreams']);
  },
);
