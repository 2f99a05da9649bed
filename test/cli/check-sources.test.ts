import t from 'tap';
import { checkSources } from '../../src/cli/check-sources.ts';
import type { EdgeAuthConfig, LdapConfig } from '../../src/config/access/access-config.ts';
import { ms } from '../../src/lib/brand.ts';
import { freePort } from '../support/free-port.ts';
import { JWKS, json, startOidcIssuer } from '../support/oidc-issuer.ts';
import { missing } from '../support/parts.ts';
import { startSlapd } from '../support/slapd.ts';

async function reportOn(more: Partial<EdgeAuthConfig>): Promise<string[]> {
  const lines: string[] = [];
  const edge = { token: { enabled: true, ttl: ms(300_000) }, ...more };
  await checkSources(edge, (verdict, what, text) => void lines.push(`${verdict} ${what} ${text}`));
  return lines;
}

void t.test('a directory: who answers, and what is wrong with it', { skip: missing('slapd') }, async (t) => {
  await using slapd = await startSlapd();
  const dead = `ldaps://127.0.0.1:${await freePort()}`;
  const ldap: LdapConfig = {
    urls: [slapd.ldaps, slapd.ldap],
    ca: slapd.ca,
    bindDn: slapd.service.dn,
    bindPassword: slapd.service.password,
    userBase: slapd.people,
    userFilter: '(uid={user})',
    groupBase: slapd.groups,
    groupFilter: '(member={dn})',
    timeout: ms(5000),
  };
  const report = async (more: Partial<LdapConfig>): Promise<string> =>
    (await reportOn({ ldap: { ...ldap, ...more } })).join('\n');
  t.equal(
    await report({}),
    [slapd.ldaps, slapd.ldap].map((url) => `ok auth.edge.ldap ${url} answers cn=edge,dc=corp`).join('\n'),
  );
  t.match(
    await report({ urls: [dead, slapd.ldap] }),
    /^warn .*\(ECONNREFUSED\): the others are asked in its place\nok /,
  );
  t.match(
    await report({ urls: [dead] }),
    /^fail auth\.edge\.ldap ldaps:.*\(ECONNREFUSED\): nobody new would get in by it$/,
  );
  t.match(
    await report({ urls: [slapd.ldaps], bindPassword: 'canary-wrong' }),
    /^fail .*it refuses auth\.edge\.ldap\.bindDn/,
  );
  t.match(
    await report({ urls: [slapd.ldaps], groupBase: 'ou=none,dc=corp' }),
    /^fail .*: ou=none,dc=corp: it answers NoSuchObjectError \(32\): mend auth\.edge\.ldap\.groupBase/,
  );
  t.match(
    await report({ urls: [slapd.ldaps.replace('127.0.0.1', 'localhost')] }),
    /^fail .*certificate is not trusted/,
  );
  t.notMatch(await report({ bindPassword: 'canary-wrong' }), 'canary');
});

void t.test('an issuer', async (t) => {
  await using issuer = await startOidcIssuer(() => Date.now());
  const oidc = {
    issuer: issuer.issuer,
    ca: issuer.ca,
    audience: 'pierhead',
    userClaim: 'sub',
    groupsClaim: 'groups',
  };
  t.strictSame(await reportOn({ oidc }), [`ok auth.edge.oidc ${issuer.issuer} publishes 1 key`]);
  issuer.answer(JWKS, (response) => json(response, {}));
  t.match(await reportOn({ oidc }), [
    /^fail auth\.edge\.oidc its jwks_uri gives no set.*: nobody new would get in by it$/,
  ]);
  await issuer.stop();
  t.match(await reportOn({ oidc }), [/^fail auth\.edge\.oidc https:.*ECONNREFUSED: nobody new/]);
  t.strictSame(await reportOn({}), []);
});
