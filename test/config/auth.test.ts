import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { TestAuthority } from '../tls/clients/authority.ts';

const HASH = '$2y$05$abcdefghijklmnopqrstuuE2bLDLh9V3yXk6iRL0fHHNp4bgtVZ5S';

function load(dir: string, yaml: string) {
  writeFileSync(join(dir, 'edge.yaml'), yaml, { mode: 0o600 });
  return loadConfig({ file: 'edge.yaml', flags: {}, env: {}, cwd: dir, cpus: 2 });
}

function problems(dir: string, yaml: string): string[] {
  try {
    load(dir, yaml);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ key, message }) => `${key}: ${message}`);
    throw error;
  }
  return [];
}

function folderOf(t: Test): string {
  return t.testdir({ users: `ada:${HASH}\n`, text: 'not PEM' });
}

void t.test('passwords and tokens do not cross a network in the clear unless somebody says so', async (t) => {
  const dir = folderOf(t);
  for (const auth of ['mode: edge, edge: { htpasswd: users, token: { enabled: false } }', 'mode: upstream']) {
    for (const host of ['0.0.0.0:5000', '192.0.2.1:5000', 'edge.example:5000', '"[::]:5000"']) {
      t.match(problems(dir, `auth: { ${auth} }\nlisten: { http: ${host} }`), [
        /^listen\.http: is .* in the clear/,
      ]);
      t.same(problems(dir, `auth: { ${auth}, allowPlain: true }\nlisten: { http: ${host} }`), []);
    }
    for (const host of ['null', '127.0.0.1:5000', '127.3.2.1:5000', 'localhost:5000', '"[::1]:5000"', '5000'])
      t.same(problems(dir, `auth: { ${auth} }\nlisten: { http: ${host} }`), [], host);
  }
  t.same(problems(dir, 'listen: { http: 0.0.0.0:5000 }'), [], 'nothing to hide');
});

void t.test('where a proxy ends TLS, the token service has to be told its own address', async (t) => {
  const dir = folderOf(t);
  const edge = (token: string): string =>
    `auth: { mode: edge, allowPlain: true, edge: { htpasswd: users${token} } }`;
  const realm = ', token: { realm: https://edge.example/auth/token }';
  for (const proxied of ['listen: { http: 0.0.0.0:5000 }', 'access: { trustedProxies: [127.0.0.1] }']) {
    t.match(problems(dir, `${edge('')}\n${proxied}`), [
      /^auth\.edge\.token\.realm: is missing; takes the https URL/,
    ]);
    t.same(problems(dir, `${edge(realm)}\n${proxied}`), []);
    t.same(problems(dir, `${edge(', token: { enabled: false }')}\n${proxied}`), []);
  }
  t.same(problems(dir, edge('')), [], 'this host alone hears plain HTTP');
  t.match(problems(dir, edge(realm.replace('https', 'http'))), [/realm: got .*; takes the https URL/]);
  t.same(problems(dir, edge(realm.replace('https://edge.example', 'http://127.0.0.1:5000'))), []);
});

void t.test('what mode edge cannot be run with', async (t) => {
  const dir = folderOf(t);
  const authority = await TestAuthority.create(join(dir, 'ca'));
  const { caFile } = authority;
  let broken = 0;
  const lines = (...entries: string[]): string => {
    broken += 1;
    writeFileSync(join(dir, `broken-${broken}`), entries.join('\n'));
    return `auth: { mode: edge, edge: { htpasswd: broken-${broken} } }`;
  };
  const cases: [yaml: string, problem: RegExp][] = [
    ['auth: { mode: edge }', /^auth\.edge: has no source of identities/],
    ['auth: { mode: edge, edge: { token: {} } }', /^auth\.edge: has no source of identities/],
    [
      'auth: { mode: edge, edge: { htpasswd: missing } }',
      /^auth\.edge\.htpasswd: the file .* does not exist/,
    ],
    [lines('ada:secret'), /htpasswd: line 1 of the file is not NAME:HASH with a bcrypt hash/],
    [lines(`ada:${HASH}`, 'bob:{SHA}x'), /htpasswd: line 2/],
    [lines(`ada:${HASH}`, `ada:${HASH}`), /htpasswd: line 2 of the file names a user for the second time/],
    [lines(`ada:${HASH.replace('$05$', '$31$')}`), /of cost 4 to 14/],
    [lines(`a\u001bda:${HASH}`), /htpasswd: line 1/],
    [lines('# nobody', ''), /htpasswd: the file names no user/],
    [
      `auth: { mode: edge, edge: { clientCertificate: { ca: text } } }`,
      /clientCertificate\.ca: text is not a file with PEM/,
    ],
    [
      `auth: { mode: edge, edge: { clientCertificate: { ca: ${caFile}, crl: text } } }`,
      /clientCertificate\.crl: the file is no certificate revocation list in PEM/,
    ],
    [
      `auth: { mode: edge, edge: { clientCertificate: { ca: ${caFile}, crl: ${caFile} } } }`,
      /clientCertificate\.crl: the file is no certificate revocation list in PEM/,
    ],
    [
      `auth: { mode: edge, edge: { clientCertificate: { ca: ${caFile} } } }\nlisten: { https: null }`,
      /clientCertificate: is of no use with listen\.https off/,
    ],
    ['auth: { edge: { token: { ttl: 1s } } }', /token\.ttl: got "1s"; takes .*from 60s to 1h/],
    ['auth: { edge: { token: { ttl: 2h } } }', /token\.ttl/],
    ['auth: { edge: { token: { realm: edge.example } } }', /token\.realm: got .*takes the https URL/],
    [`auth: { edge: { token: { realm: 'https://a"b/' } } }`, /token\.realm/],
  ];
  for (const [yaml, problem] of cases) {
    const [first = 'none', ...more] = problems(dir, yaml);
    t.match(first, problem, yaml);
    t.same(more, [], yaml);
    t.notMatch(first, /secret|\$2y/, 'no secret in it');
  }
});

void t.test('what it takes', async (t) => {
  const dir = folderOf(t);
  const authority = await TestAuthority.create(join(dir, 'ca'));
  await authority.writeRevocations();
  const clientCertificate = `{ ca: ${authority.caFile}, crl: ${authority.crlFile}, user: subjectAltName }`;
  const { auth } = load(
    dir,
    `auth: { mode: edge, edge: { htpasswd: users, clientCertificate: ${clientCertificate}, token: { ttl: 10m } } }`,
  );
  t.match(auth, {
    mode: 'edge',
    allowPlain: false,
    edge: {
      htpasswd: [{ user: 'ada', hash: HASH }],
      clientCertificate: { ca: await authority.ca(), user: 'subjectAltName' },
      token: { enabled: true, ttl: 600_000 },
    },
  });
  const der = join(dir, 'der.crl');
  execFileSync('openssl', ['crl', '-in', authority.crlFile, '-outform', 'DER', '-out', der]);
  t.match(
    problems(
      dir,
      `auth: { mode: edge, edge: { clientCertificate: { ca: ${authority.caFile}, crl: ${der} } } }`,
    ),
    [/crl: the file is no certificate revocation list in PEM/],
  );
});
