import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startEdge } from '../support/edge.ts';
import { missing, part } from '../support/parts.ts';
import { runProcess } from '../support/processes.ts';
import { tempFolder } from '../support/temp.ts';

interface Finding {
  readonly id: string;
  readonly severity: string;
  readonly finding: string;
}

/** Protocols, ciphers, forward secrecy, server defaults, vulnerabilities; no clients are simulated. */
const CHECKS = ['--protocols', '--std', '--pfs', '--server-defaults', '--vulnerable'];
/** Nobody else is asked, nobody waited for. */
const HOW =
  '--quiet --color=0 --warnings=off --nodns=none --ip=127.0.0.1 --openssl-timeout=10 --connect-timeout=10'.split(
    ' ',
  );
/** One of each group: a scan that did not come to its end has not found that all is well. */
const MUST_HAVE_RUN = [
  'TLS1',
  'TLS1_3',
  'cipherlist_3DES_IDEA',
  'PFS',
  'cert_trust',
  'secure_client_renego',
  'RC4',
];
/** What a CA of one's own cannot have: nobody else would look a certificate of it up, and the edge is its only user. */
const OF_A_PRIVATE_CA = new Map([['cert_revocation', 'Neither CRL nor OCSP URI provided']]);
const SEVERE = new Set(['LOW', 'MEDIUM', 'HIGH', 'CRITICAL', 'FATAL']);

void t.test('testssl.sh finds nothing to complain of', { skip: missing('testssl') }, async (t) => {
  const edge = await startEdge({ workers: 1 });
  t.teardown(() => edge.remove());
  const dir = tempFolder(t, 'testssl');
  const report = join(dir, 'report.json');
  const { port } = new URL(edge.https);
  const scan = await runProcess(
    part('testssl'),
    [
      ...CHECKS,
      ...HOW,
      `--add-ca=${join(edge.dir, 'certs/ca.crt')}`,
      `--jsonfile=${report}`,
      `https://localhost:${port}`,
    ],
    { cwd: dir, timeoutMs: 280_000 },
  );
  const findings = JSON.parse(await readFile(report, 'utf8')) as Finding[];
  const ids = new Set(findings.map(({ id }) => id));
  const absent = MUST_HAVE_RUN.filter((id) => !ids.has(id));
  t.same(absent, [], 'the scan came to its end');
  if (absent.length > 0) t.comment(scan.stdout.slice(-2000), scan.stderr);
  t.match(findings.find(({ id }) => id === 'cert_trust')?.finding, /^Ok/);
  t.same(
    findings.filter(
      ({ id, severity, finding }) => SEVERE.has(severity) && OF_A_PRIVATE_CA.get(id) !== finding,
    ),
    [],
  );
});
