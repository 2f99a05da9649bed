import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, copyFile, readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/lib/clock.ts';
import { readAuthority, authorityFiles } from '../../src/tls/certificate-authority.ts';
import { ensureCertificates } from '../../src/tls/ensure-certificates.ts';
import { issueClientCertificate } from '../../src/tls/leaf-certificate.ts';
import { serverTlsOptions, type ServerTlsSettings } from '../../src/tls/server-tls-options.ts';

const run = promisify(execFile);
const MANIFEST = JSON.stringify({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  manifests: [],
});
const hasIpv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some((entry) => entry.address === '::1'),
);

interface Edge {
  readonly server: Server;
  readonly port: number;
  readonly folder: string;
  readonly settings: ServerTlsSettings;
  readonly ca: string;
}

async function edge(
  t: Test,
  more: (folder: string) => Promise<Partial<ServerTlsSettings>> = async () => ({}),
): Promise<Edge> {
  const folder = t.testdir();
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key') };
  await ensureCertificates({ ...files, names: ['edge.example'], hostname: 'edge', clock: systemClock });
  const cert = await readFile(files.cert, 'utf8');
  const settings = { cert, key: await readFile(files.key, 'utf8'), ...(await more(folder)) };
  const server = createServer(serverTlsOptions(settings), (request, response) => {
    if (request.url === '/v2/') response.end('{}');
    else response.writeHead(200, { 'content-type': 'application/vnd.oci.image.index.v1+json' }).end(MANIFEST);
  });
  server.on('tlsClientError', () => undefined);
  server.listen({ port: 0, host: hasIpv6 ? '::' : '0.0.0.0' });
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { server, port: address.port, folder, settings, ca: await readFile(join(folder, 'ca.crt'), 'utf8') };
}

/** What the two agreed on; rejects with the client's error. TLS 1.3 tells of a refused client only on the first read. */
async function handshake(
  edge: Edge,
  options: ConnectionOptions,
): Promise<{
  protocol: string | null;
  cipher: string;
  alpn: string | false | null;
  reused: boolean;
  session: Buffer | undefined;
}> {
  const socket: TLSSocket = connect({
    host: '127.0.0.1',
    servername: 'edge.example',
    port: edge.port,
    ca: edge.ca,
    ...options,
  });
  let session: Buffer | undefined;
  socket.on('session', (ticket) => (session = ticket));
  socket.resume();
  await once(socket, 'secureConnect');
  socket.write('GET /v2/ HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n');
  const agreed = {
    protocol: socket.getProtocol(),
    cipher: socket.getCipher().name,
    alpn: socket.alpnProtocol,
    reused: socket.isSessionReused(),
  };
  await once(socket, 'end');
  return { ...agreed, session };
}

void t.test('a client that has only the CA reaches the edge by name, by IPv4 and by IPv6', async (t) => {
  const at = await edge(t);
  t.equal((await handshake(at, {})).protocol, 'TLSv1.3');
  await t.resolves(handshake(at, { servername: 'localhost' }));
  await t.resolves(handshake(at, { servername: '' }), '127.0.0.1 by address');
  if (hasIpv6) await t.resolves(handshake(at, { host: '::1', servername: '' }), '::1 by address');
  await t.rejects(handshake(at, { servername: 'other.example' }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  await t.rejects(
    handshake(at, { ca: [] }),
    { code: 'SELF_SIGNED_CERT_IN_CHAIN' },
    'a client without the CA refuses',
  );
});

void t.test('TLS 1.1 and CBC suites are refused; ECDHE with AEAD on TLS 1.2 is not', async (t) => {
  const at = await edge(t);
  const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const;
  await t.rejects(handshake(at, old), { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
  for (const ciphers of ['ECDHE-ECDSA-AES128-SHA256', 'ECDHE-ECDSA-AES256-SHA']) {
    await t.rejects(
      handshake(at, { maxVersion: 'TLSv1.2', ciphers }),
      { code: /HANDSHAKE_FAILURE/ },
      ciphers,
    );
  }
  for (const ciphers of ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305']) {
    t.match(await handshake(at, { maxVersion: 'TLSv1.2', ciphers }), {
      protocol: 'TLSv1.2',
      cipher: ciphers,
    });
  }
  const reversed = 'ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256';
  const agreed = await handshake(at, { maxVersion: 'TLSv1.2', ciphers: reversed });
  t.equal(agreed.cipher, 'ECDHE-ECDSA-AES128-GCM-SHA256', "the server's order counts");
});

void t.test('only HTTP/1.1 is negotiated, and only on the named curves', async (t) => {
  const at = await edge(t);
  t.equal((await handshake(at, { ALPNProtocols: ['h2', 'http/1.1'] })).alpn, 'http/1.1');
  t.equal((await handshake(at, {})).alpn, false, 'Go sends none');
  await t.rejects(handshake(at, { ALPNProtocols: ['h2'] }), { code: /NO_APPLICATION_PROTOCOL/ });
  await t.resolves(handshake(at, { ecdhCurve: 'P-384' }));
  await t.rejects(handshake(at, { ecdhCurve: 'P-521' }), { code: /HANDSHAKE_FAILURE/ });
});

void t.test('a client cannot renegotiate', async (t) => {
  const at = await edge(t);
  const where = { host: '127.0.0.1', servername: 'edge.example', port: at.port, ca: at.ca };
  const socket = connect({ ...where, maxVersion: 'TLSv1.2' });
  await once(socket, 'secureConnect');
  socket.renegotiate({}, () => socket.destroy(new Error('renegotiated')));
  await t.rejects(once(socket, 'close'), { message: /no renegotiation/ });
  socket.destroy();
});

void t.test('after a reload a server for TLS 1.3 only still is one', async (t) => {
  const strict = await edge(t, async () => ({ minVersion: 'TLSv1.3' }));
  strict.server.setSecureContext(serverTlsOptions(strict.settings));
  await t.rejects(handshake(strict, { maxVersion: 'TLSv1.2' }), {
    code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
  });
  await t.resolves(handshake(strict, {}));
});

void t.test('after a reload there is still no CBC suite', async (t) => {
  const at = await edge(t);
  at.server.setSecureContext(serverTlsOptions(at.settings));
  const cbc = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' } as const;
  await t.rejects(handshake(at, cbc), { code: /HANDSHAKE_FAILURE/ });
});

void t.test(
  'where client certificates are required, ours gets in, none does not, and no session is resumed',
  async (t) => {
    const at = await edge(t, async (folder) => ({
      clients: { ca: await readFile(join(folder, 'ca.crt'), 'utf8'), required: true },
    }));
    const authority = await readAuthority(authorityFiles(join(at.folder, 'server.crt')), systemClock);
    if (authority === undefined) throw new Error('no CA');
    const identity = issueClientCertificate(authority, 'branch-7', systemClock);
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const first = await handshake(at, { ...identity, maxVersion });
      const again = await handshake(at, {
        ...identity,
        maxVersion,
        ...(first.session && { session: first.session }),
      });
      t.notOk(again.reused, `${maxVersion} is not resumed`);
      await t.rejects(handshake(at, { maxVersion }), `${maxVersion} without a certificate`);
    }
  },
);

void t.test(
  'skopeo, and so Go, accepts the chain by name and by address',
  { skip: !(await runs('skopeo')) },
  async (t) => {
    const at = await edge(t);
    const trust = join(at.folder, 'trust');
    await mkdir(trust);
    const inspect = (host: string): Promise<{ stdout: string }> =>
      run('skopeo', [
        'inspect',
        '--raw',
        '--cert-dir',
        trust,
        `docker://${host}:${at.port}/library/x:latest`,
      ]);
    const refused: unknown = await inspect('localhost').catch((error: unknown) => error);
    t.match(refused, { stderr: /x509: certificate signed by unknown authority/ });
    await copyFile(join(at.folder, 'ca.crt'), join(trust, 'ca.crt'));
    t.equal((await inspect('localhost')).stdout, MANIFEST);
    t.equal((await inspect('127.0.0.1')).stdout, MANIFEST);
  },
);

async function runs(command: string): Promise<boolean> {
  return run(command, ['--version']).then(
    () => true,
    () => false,
  );
}
