import t, { type Test } from 'tap';
import { changedKeys, inFlight } from '../../../src/config/in-flight.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { ConfigError } from '../../../src/config/problem.ts';
import type { Config } from '../../../src/config/config.ts';

const load = (t: Test, yaml: string): Config =>
  loadConfig({
    flags: {},
    env: {},
    cpus: 2,
    file: 'edge.yaml',
    cwd: t.testdir({ 'edge.yaml': yaml }),
  });

void t.test('what cannot be is refused, by its key', async (t) => {
  const cases: readonly (readonly [yaml: string, problem: RegExp])[] = [
    ['access: { proxyProtocol: true }', /^access.proxyProtocol .*trustedProxies/],
    ['access: { trustedProxies: [10.0.0.1, 0.0.0.0/0] }', /^access.trustedProxies\[1\] got "0.0.0.0\/0"/],
    ['access: { trustedProxies: ["::/0"] }', /^access.trustedProxies\[0\] got "::\/0"/],
    ['access: { trustedProxies: [proxy.corp] }', /^access.trustedProxies\[0\] got "proxy.corp"; takes an IP/],
    ['access: { listeners: { https: { allow: [x] } } }', /^access.listeners.https.allow\[0\] got "x"/],
    ['access: { listeners: { tls: {} } }', /^access.listeners.tls /],
    ['limits: { connections: 0 }', /^limits.connections got 0; takes a whole number from 1/],
    ['limits: { connectionsPerAddress: many }', /^limits.connectionsPerAddress got "many"/],
    ['limits: { minRate: 2MiB }', /^limits.minRate got "2MiB"; .*at most 1MiB/],
  ];
  for (const [yaml, expected] of cases) {
    try {
      load(t, yaml);
      t.fail(`taken: ${yaml}`);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      t.match(error.problems.map(({ key, message }) => `${key} ${message}`).join('; '), expected, yaml);
    }
  }
});

void t.test('lists of a listener are whole: what is not said there is the default', async (t) => {
  const { access } = load(
    t,
    'access: { allow: [10.0.0.0/8], deny: [10.6.6.6], listeners: { admin: { allow: [10.1.0.0/16] } } }',
  );
  t.same(access.listeners, { admin: { allow: ['10.1.0.0/16'], deny: [] } });
});

void t.test('proxies and limits change in flight', async (t) => {
  const running = load(t, '');
  const read = load(
    t,
    'access: { trustedProxies: [10.0.0.1], proxyProtocol: true }\nlimits: { minRate: 0, connections: 9 }',
  );
  t.same(read.limits.minRate, 0);
  t.same(changedKeys(running, inFlight(running, read)), [
    'access.trustedProxies',
    'access.proxyProtocol',
    'limits.connections',
    'limits.minRate',
  ]);
  t.same(changedKeys(inFlight(running, read), read), []);
});
