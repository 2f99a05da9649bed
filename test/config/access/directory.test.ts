import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import t, { type Test } from 'tap';
import type { EdgeAuthConfig } from '../../../src/config/access/access-config.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { ConfigError } from '../../../src/config/problem.ts';

const CANARY = 'canary-4711';

function load(t: Test, edge: string): EdgeAuthConfig {
  const cwd = t.testdir({
    'edge.yaml': `auth: { mode: edge, edge: ${edge} }`,
    'ca.pem': rootCertificates[0] ?? '',
    password: `${CANARY}\n`,
  });
  chmodSync(join(cwd, 'edge.yaml'), 0o600);
  const { auth } = loadConfig({ file: 'edge.yaml', flags: {}, env: {}, cwd, cpus: 1 });
  if (auth.mode !== 'edge') throw new Error('another mode');
  return auth.edge;
}

/** The first problem, as `KEY: MESSAGE`. */
function problem(t: Test, edge: string): string {
  try {
    load(t, edge);
    return 'none';
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [first] = error.problems;
    return `${first?.key}: ${first?.message}`;
  }
}

const LEAST = "url: 'ldaps://ldap.corp', userBase: 'ou=people,dc=corp'";

void t.test('a directory', async (t) => {
  t.strictSame(load(t, `{ ldap: { ${LEAST} } }`).ldap, {
    urls: ['ldaps://ldap.corp'],
    userBase: 'ou=people,dc=corp',
    userFilter: '(uid={user})',
    groupFilter: '(member={dn})',
    timeout: 5000,
  });
  const all = load(
    t,
    `{ ldap: { url: ['ldaps://LDAP1.corp:1636/', 'ldap://[::1]'], ca: ca.pem, bindDn: 'corp\\edge', bindPassword: { file: password }, userBase: 'dc=corp',
       userFilter: '(&(objectClass=user)(sAMAccountName={user}))', groupBase: 'ou=groups,dc=corp', groupFilter: '(member:1.2.840.113556.1.4.1941:={dn})', timeout: 2s } }`,
  ).ldap;
  t.match(all, {
    urls: ['ldaps://ldap1.corp:1636', 'ldap://[::1]'],
    bindDn: 'corp\\edge',
    bindPassword: CANARY,
    ca: /BEGIN CERTIFICATE/,
    timeout: 2000,
  });
});

void t.test('an issuer', async (t) => {
  t.strictSame(load(t, "{ oidc: { issuer: 'https://login.corp/realms/staff/', audience: pierhead } }").oidc, {
    issuer: 'https://login.corp/realms/staff/',
    audience: 'pierhead',
    userClaim: 'sub',
    groupsClaim: 'groups',
  });
  for (const host of ['localhost:8080', '127.0.0.1', '[::1]:8080'])
    t.equal(load(t, `{ oidc: { issuer: 'http://${host}', audience: a } }`).oidc?.issuer, `http://${host}`);
});

void t.test('what cannot be used', async (t) => {
  const ldap: [more: string, problem: RegExp][] = [
    ["userBase: 'dc=corp'", /^auth\.edge\.ldap\.url: is missing; takes ldaps:\/\/HOST/],
    ["url: 'ldaps://ldap.corp'", /ldap\.userBase: is missing; takes a distinguished name/],
    ["url: [], userBase: 'dc=corp'", /ldap\.url: is empty/],
    ["url: 'https://ldap.corp', userBase: 'dc=corp'", /ldap\.url: got "https:\/\/ldap\.corp"; takes ldaps:/],
    ["url: 'ldaps://ldap.corp/dc=corp', userBase: 'dc=corp'", /ldap\.url: got .*without a path/],
    [`url: 'ldaps://edge:${CANARY}@ldap.corp', userBase: 'dc=corp'`, /ldap\.url: got .*without user info/],
    ["url: ['ldaps://a', ftp://b], userBase: 'dc=corp'", /ldap\.url: got "ftp/],
    [`url: 'ldaps://a', userBase: people`, /ldap\.userBase: got "people"/],
    [`${LEAST}, userFilter: '(uid=ada)'`, /ldap\.userFilter: .*compares an attribute with \{user\}/],
    [`${LEAST}, userFilter: 'uid={user}'`, /ldap\.userFilter/],
    [`${LEAST}, userFilter: '(uid={user}'`, /ldap\.userFilter/],
    [`${LEAST}, userFilter: '(|(uid={user})(dn={dn}))'`, /ldap\.userFilter/],
    [`${LEAST}, groupFilter: '(cn=*)'`, /ldap\.groupFilter: .*with \{dn\} or \{user\}/],
    [`${LEAST}, bindDn: 'cn=edge'`, /ldap\.bindPassword: is missing/],
    [`${LEAST}, bindPassword: ${CANARY}`, /ldap\.bindDn: is missing/],
    [
      `${LEAST}, bindDn: 'cn=edge', bindPassword: { file: none }`,
      /ldap\.bindPassword: the file .* does not exist/,
    ],
    [`${LEAST}, ca: password`, /ldap\.ca: password is not a file with PEM certificates/],
    [`${LEAST}, timeout: 1ms`, /ldap\.timeout: .*from 100ms to 30s/],
    [`${LEAST}, filter: x`, /ldap\.filter: is not a known key/],
  ];
  for (const [text, expected] of ldap) t.match(problem(t, `{ ldap: { ${text} } }`), expected, text);
  const oidc: [more: string, problem: RegExp][] = [
    ['audience: a', /^auth\.edge\.oidc\.issuer: is missing; takes the https URL/],
    ["issuer: 'https://login.corp'", /oidc\.audience: is missing/],
    ["issuer: 'http://login.corp', audience: a", /oidc\.issuer: got .*http:\/\/ on this host only/],
    ["issuer: 'http://127.corp', audience: a", /oidc\.issuer/],
    ["issuer: 'https://login.corp?x=1', audience: a", /oidc\.issuer/],
    [`issuer: 'https://a:${CANARY}@login.corp', audience: a`, /oidc\.issuer/],
    ['issuer: login.corp, audience: a', /oidc\.issuer/],
    ["issuer: 'https://a', audience: ''", /oidc\.audience: got ""/],
    ["issuer: 'https://a', audience: a, userClaim: ''", /oidc\.userClaim/],
    ["issuer: 'https://a', audience: a, ca: none", /oidc\.ca: the file .* does not exist/],
  ];
  for (const [text, expected] of oidc) t.match(problem(t, `{ oidc: { ${text} } }`), expected, text);
  for (const [text] of [...ldap, ...oidc]) t.notMatch(problem(t, `{ ldap: { ${text} } }`), CANARY);
});
