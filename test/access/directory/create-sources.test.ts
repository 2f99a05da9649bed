import { Registry } from 'prom-client';
import t from 'tap';
import { createSources } from '../../../src/access/directory/create-sources.ts';
import { SourceUnavailable } from '../../../src/access/sources.ts';
import { identityEvents } from '../../../src/app-identity-events.ts';
import type { EdgeAuthConfig } from '../../../src/config/access/access-config.ts';
import { ms } from '../../../src/lib/brand.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { createLog } from '../../../src/observe/log.ts';
import { eventually } from '../../support/eventually.ts';
import { startOidcIssuer, type OidcIssuer } from '../../support/oidc-issuer.ts';
import { missing } from '../../support/parts.ts';
import { startSlapd, type Slapd } from '../../support/slapd.ts';
import { SourceLog } from '../../support/source-log.ts';

const TOKEN = { enabled: true, ttl: ms(300_000) };

function configOf(issuer: OidcIssuer, slapd: Slapd): EdgeAuthConfig {
  return {
    token: TOKEN,
    oidc: {
      issuer: issuer.issuer,
      ca: issuer.ca,
      audience: 'pierhead',
      userClaim: 'sub',
      groupsClaim: 'groups',
    },
    ldap: {
      urls: [slapd.ldaps],
      ca: slapd.ca,
      bindDn: slapd.service.dn,
      bindPassword: slapd.service.password,
      userBase: slapd.people,
      userFilter: '(uid={user})',
      groupFilter: '(member={dn})',
      timeout: ms(5000),
    },
  };
}

void t.test('without a source there is none', async (t) => {
  const sources = createSources({ token: TOKEN }, systemClock, new SourceLog());
  t.match(sources, { passwords: [], bearers: [] });
  sources.start();
  sources.close();
});

void t.test('a directory and an issuer', { skip: missing('slapd') }, async (t) => {
  await using slapd = await startSlapd();
  await using issuer = await startOidcIssuer(() => Date.now());
  await slapd.person('ada', 'secret');
  const log = new SourceLog();
  const sources = createSources(configOf(issuer, slapd), systemClock, log);
  t.strictSame(issuer.requests, [], 'nothing is asked by making them');
  const check = async (user: string, password: string) => {
    for (const source of sources.passwords) {
      const identity = await source.check(user, password);
      if (identity !== undefined) return identity;
    }
    return undefined;
  };
  t.match(await check('ada', 'secret'), { user: 'ada', by: 'ldap' });
  const token = await issuer.token({ sub: 'bob' });
  t.match(await check('oidc', token), { user: 'bob', by: 'oidc' });
  t.equal(await check('ada', token), undefined);
  t.match(await sources.bearers[0]?.check(token), { user: 'bob' });
  t.match(log.lines, [/^ldap .* up$/, /^oidc .* up$/]);
  sources.close();
  t.match(await check('ada', 'secret'), { user: 'ada' }, 'whoever still holds them is answered');
});

void t.test('what is wrong is told before anybody comes', { skip: missing('slapd') }, async (t) => {
  await using slapd = await startSlapd();
  await using issuer = await startOidcIssuer(() => Date.now());
  await issuer.stop();
  const registry = new Registry();
  const sources = createSources(
    configOf(issuer, slapd),
    systemClock,
    identityEvents(registry, createLog('silent', 'test')),
  );
  t.teardown(() => sources.close());
  sources.start();
  const text = await eventually(async () => {
    const metrics = await registry.metrics();
    return metrics.includes('ldap') && metrics.includes('oidc') && metrics;
  });
  t.match(text, `pierhead_identity_source_up{source="ldap",server="${slapd.ldaps}"} 1`);
  t.match(text, `pierhead_identity_source_up{source="oidc",server="${issuer.issuer}"} 0`);
  const [bearer] = sources.bearers;
  await t.rejects(async () => void (await bearer?.check(await issuer.token())), SourceUnavailable);
});
